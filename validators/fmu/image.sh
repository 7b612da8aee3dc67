# fmpy wants CMake to build FMUs, and has a desktop program; a simulation needs neither.
rm -r cmake cmake-*.dist-info fmpy/gui fmpy/remoting fmpy/container_fmu
