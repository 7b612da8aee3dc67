"""FMUs for tests: one C model in FMI 2 and 3 whose parameter `behaviour` selects a fault.

`nanmid.fmu`, `default100.fmu`, `discard_step.fmu` and `exit_step.fmu` are foreign FMUs for 64-bit
Linux with one fault each.
"""

import functools
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent
BEHAVIOURS = re.findall(
    r"\w+", re.findall(r"enum { (NORMAL.*) }", Path(FOLDER, "model.c").read_text())[0]
)

UNITS = """<UnitDefinitions><Unit name="K"><BaseUnit K="1"/>
<DisplayUnit name="degC" factor="1" offset="-273.15"/></Unit>
<Unit name="m"><BaseUnit m="1"/></Unit></UnitDefinitions>"""
EXPERIMENT = '<DefaultExperiment startTime="0" stopTime="1" stepSize="0.1"/>'

FMI2_TYPES = """<TypeDefinitions><SimpleType name="Mode"><Enumeration>
<Item name="off" value="1"/><Item name="on" value="2"/></Enumeration></SimpleType></TypeDefinitions>"""
_CALCULATED = 'causality="output" variability="{}" initial="calculated"'
_FIXED = 'causality="parameter" variability="fixed" initial="exact"'
_DISCRETE, _CONTINUOUS = _CALCULATED.format("discrete"), _CALCULATED.format("continuous")

FMI2_VARIABLES = {
    "level": (0, _CONTINUOUS, '<Real unit="m"/>'),
    "time": (2, _CONTINUOUS, "<Real/>"),
    "odd": (3, _CONTINUOUS, "<Real/>"),
    "steps": (1, _DISCRETE, "<Integer/>"),
    "mode_out": (2, _DISCRETE, '<Enumeration declaredType="Mode"/>'),
    "flag_out": (0, _DISCRETE, "<Boolean/>"),
    "text_out": (0, _DISCRETE, "<String/>"),
    "input": (
        1,
        'causality="input" variability="continuous"',
        '<Real start="1" unit="K" min="0" max="400"/>',
    ),
    "behaviour": (0, _FIXED, '<Integer start="0" min="0" max="11"/>'),
    "mode": (2, _FIXED, '<Enumeration declaredType="Mode" start="1"/>'),
    "flag": (0, 'causality="input" variability="discrete"', '<Boolean start="false"/>'),
    "text": (0, _FIXED, '<String start="abc"/>'),
    "gravity": (
        9,
        'causality="local" variability="constant" initial="exact"',
        '<Real start="9.8"/>',
    ),
}

FMI3_XML = f"""<fmiModelDescription fmiVersion="3.0" modelName="Faults" instantiationToken="{{t}}">
<CoSimulation modelIdentifier="model" canHandleVariableCommunicationStepSize="true"/>
{UNITS}<TypeDefinitions><EnumerationType name="Mode"><Item name="off" value="1"/><Item name="on" value="2"/>
</EnumerationType></TypeDefinitions>{EXPERIMENT}<ModelVariables>
<Float64 name="time" valueReference="2" causality="independent" variability="continuous"/>
<Float64 name="level" valueReference="0" causality="output" unit="m"/>
<Float64 name="table" valueReference="3" causality="output"><Dimension start="2"/><Dimension start="3"/></Float64>
<Int64 name="steps" valueReference="11" causality="output"/>
<Enumeration name="mode_out" valueReference="12" causality="output" declaredType="Mode"/>
<Boolean name="flag_out" valueReference="20" causality="output"/>
<String name="text_out" valueReference="30" causality="output"/>
<Binary name="bytes_out" valueReference="31" causality="output"/>
<Float64 name="input" valueReference="1" causality="input" start="1" unit="K" min="0" max="400"/>
<Int32 name="behaviour" valueReference="10" causality="parameter" variability="fixed" start="0"/>
<Int8 name="small" valueReference="13" causality="parameter" variability="fixed" start="0"/>
</ModelVariables><ModelStructure>{"".join(f'<Output valueReference="{n}"/>' for n in (0, 3, 11, 12, 20, 30, 31))}
</ModelStructure></fmiModelDescription>"""


def fmi2_xml(
    *,
    interface: str = "CoSimulation",
    outputs: bool = True,
    attributes: str = 'canHandleVariableCommunicationStepSize="true"',
    experiment: str = EXPERIMENT,
    guid: str = "{g}",
) -> str:
    """Return the description of the model in FMI 2."""
    chosen = [
        (name, place)
        for name, place in FMI2_VARIABLES.items()
        if outputs or 'causality="output"' not in place[1]
    ]
    variables = "".join(
        f'<ScalarVariable name="{name}" valueReference="{reference}" {kind}>{typed}</ScalarVariable>'
        for name, (reference, kind, typed) in chosen
    )
    listed = "".join(
        f'<Unknown index="{index}"/>'
        for index, (_, (_, kind, _)) in enumerate(chosen, start=1)
        if 'causality="output"' in kind
    )
    structure = f"<Outputs>{listed}</Outputs><InitialUnknowns>{listed}</InitialUnknowns>"
    return (
        f'<fmiModelDescription fmiVersion="2.0" modelName="Faults" guid="{guid}" '
        f'numberOfEventIndicators="0"><{interface} modelIdentifier="model" '
        f"{attributes if interface == 'CoSimulation' else ''}/>{UNITS}{FMI2_TYPES}{experiment}"
        f"<ModelVariables>{variables}</ModelVariables>"
        f"<ModelStructure>{structure if listed else ''}</ModelStructure></fmiModelDescription>"
    )


@functools.cache
def library(fmi: int) -> bytes:
    """Return the compiled model."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "model.so")
        source = FOLDER / "model.c"
        command = ["cc", "-w", "-shared", "-fPIC", f"-DFMI{fmi}", "-o", str(target), str(source)]
        subprocess.run(command, check=True)
        return target.read_bytes()


def build(
    folder: Path, description: str, *, fmi: int = 2, more: Mapping[str, str] | None = None
) -> Path:
    """Write an FMU for 64-bit Linux; `more` are texts of further entries."""
    target = folder / "faults.fmu"
    machine = "linux64" if fmi == 2 else "x86_64-linux"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("modelDescription.xml", description)
        archive.writestr(f"binaries/{machine}/model.so", library(fmi))
        for entry, text in (more or {}).items():
            archive.writestr(entry, text)
    return target
