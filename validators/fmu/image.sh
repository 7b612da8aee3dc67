# fmpy wants CMake to build FMUs, and has a desktop program; a simulation needs neither.
rm -r cmake cmake-*.dist-info fmpy/gui fmpy/remoting fmpy/container_fmu
# Nothing runs numpy's tests.
find numpy -type d -name tests -prune -exec rm -r {} +
