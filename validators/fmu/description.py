"""An FMU: its archive, and its model description with interfaces, experiment and variables.

The ZIP archive is checked against limits before it is unpacked. `modelDescription.xml` is parsed
without entities and up to a size limit. Only what a step needs is read, by the rules of FMI 2.0.5
(sections 2.2.7 and 3.3) and FMI 3.0.2 (section 2.4.7). The same files are accepted by the product's
engine `fmu-probe`.
"""

import math
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lxml import etree

from validators.fmu.variable import INTEGER_RANGES, Experiment, FmuVariable, Unit

ENTRY_LIMIT = 10_000
SIZE_LIMIT = 512 << 20
_ENCRYPTED = 0x1
# The methods of FMI 2.0.5, section 2.3; zipfile expands what others have packed without any limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
    *(RuntimeError, EOFError, OSError, ValueError),
)
"""Errors that zipfile raises for a damaged archive."""


class FmuRefused(Exception):
    """The FMU cannot be used; `code` says why."""

    def __init__(self, text: str, *, code: str) -> None:
        super().__init__(text)
        self.code = code


def unpack(archive: Path, folder: Path) -> list[str]:
    """Unpack into `folder` and return the names of the files. Raises FmuRefused."""
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
            _check(entries)
            file.extractall(folder, entries)
            return [entry.filename for entry in entries if not entry.is_dir()]
    except _UNREADABLE as error:
        # The whole text of an OSError names a folder of the machine.
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        text = f"The file is not an FMU: it is not a readable ZIP archive ({why})."
        raise FmuRefused(text, code="FMU_NOT_A_ZIP") from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > ENTRY_LIMIT:
        text = f"The FMU has {len(entries)} entries; {ENTRY_LIMIT} are allowed."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    if (total := sum(entry.file_size for entry in entries)) > SIZE_LIMIT:
        text = f"The FMU unpacks to {total} bytes; {SIZE_LIMIT} are allowed."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    for entry in entries:
        _check_entry(entry)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(entry.filename):
        text = f"The FMU has an entry that leads out of its folder: {entry.filename!r}."
        raise FmuRefused(text, code="FMU_PATH_REFUSED")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise FmuRefused(
            f"The FMU has a symbolic link: {entry.filename!r}.", code="FMU_PATH_REFUSED"
        )
    if entry.flag_bits & _ENCRYPTED:
        raise FmuRefused("The FMU is encrypted.", code="FMU_NOT_A_ZIP")
    if entry.compress_type not in _METHODS:
        text = f"The FMU has {entry.filename!r} packed otherwise than by deflate."
        raise FmuRefused(text, code="FMU_NOT_A_ZIP")


DESCRIPTION_LIMIT = 16 << 20
VARIABLE_LIMIT = 100_000
_ELEMENT_LIMIT = 1_000_000
_FMI2_TYPES = ("Real", "Integer", "Boolean", "String", "Enumeration")
_FMI3_TYPE = re.compile(r"Float(32|64)|U?Int(8|16|32|64)|Boolean|String|Binary|Enumeration|Clock")
_INTERFACES = ("CoSimulation", "ModelExchange")


class Description:
    """Model description. `identifiers` are the names of the binaries, one for each interface."""

    def __init__(self, root: etree._Element) -> None:
        self.fmi_version = root.get("fmiVersion", "")
        self.model_name = root.get("modelName")
        self.guid = root.get("guid") or root.get("instantiationToken")
        self.generation_tool = root.get("generationTool", "")
        interfaces = [node for name in _INTERFACES for node in root.iterfind(name)]
        self.identifiers = [name for node in interfaces if (name := node.get("modelIdentifier"))]
        self.needs_tool = any(
            node.get("needsExecutionTool") in {"true", "1"} for node in interfaces
        )
        self.variable_steps = all(
            node.get("canHandleVariableCommunicationStepSize") in {"true", "1"}
            for node in root.iterfind("CoSimulation")
        )
        self.experiment = _experiment(root)
        self.variables = _variables(root)

    @property
    def is_fmi3(self) -> bool:
        """Return whether the FMU is of FMI 3."""
        return self.fmi_version.startswith("3.")

    @property
    def outputs(self) -> list[str]:
        """Return the names of the output variables."""
        return [item.name for item in self.variables.values() if item.causality == "output"]


def read_description(folder: Path) -> Description:
    """Read the description of an unpacked FMU. Raises FmuRefused."""
    path = folder / "modelDescription.xml"
    if not path.is_file():
        text = "The archive has no modelDescription.xml: it is not an FMU."
        raise FmuRefused(text, code="FMU_NO_MODEL_DESCRIPTION")
    if (size := path.stat().st_size) > DESCRIPTION_LIMIT:
        text = f"modelDescription.xml has {size} bytes; {DESCRIPTION_LIMIT} are allowed."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.parse(path, parser).getroot()
    except etree.XMLSyntaxError as error:
        raise _invalid(_why_not_parsed(error.msg)) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise _invalid("it declares a document type")
    _check_root(root)
    return Description(root)


def _check_root(root: etree._Element) -> None:
    version = root.get("fmiVersion", "")
    if root.tag != "fmiModelDescription":
        raise _invalid(f"its root is {root.tag!r} instead of 'fmiModelDescription'")
    if version[:2] not in {"2.", "3."}:
        text = f"The FMU is of FMI version {version!r}; export it as FMI 2.0 or 3.0."
        raise FmuRefused(text, code="FMU_VERSION_UNSUPPORTED")
    if any(node.get("modelIdentifier") for name in _INTERFACES for node in root.iterfind(name)):
        return
    if root.find("ScheduledExecution") is not None:
        text = (
            "The FMU offers only scheduled execution, which needs a real-time scheduler; "
            "export it for co-simulation or model exchange."
        )
        raise FmuRefused(text, code="FMU_SCHEDULED_EXECUTION")
    raise _invalid("it offers neither co-simulation nor model exchange")


def _experiment(root: etree._Element) -> Experiment:
    node = root.find("DefaultExperiment")
    found = {} if node is None else {str(name): _number(node, str(name)) for name in node.attrib}
    step = found.get("stepSize")
    for interface in root.iterfind("CoSimulation"):
        step = step or _number(interface, "fixedInternalStepSize")
    return Experiment(
        start=found.get("startTime"),
        stop=found.get("stopTime"),
        step=step if step and step > 0 else None,
        tolerance=found.get("tolerance"),
    )


def _variables(root: etree._Element) -> dict[str, FmuVariable]:
    parent = root.find("ModelVariables")
    nodes = [] if parent is None else list(parent.iterchildren("*"))
    if len(nodes) > VARIABLE_LIMIT:
        text = f"The FMU has {len(nodes)} variables; {VARIABLE_LIMIT} are allowed."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    is_fmi3 = root.get("fmiVersion", "").startswith("3.")
    types = _type_definitions(root, is_fmi3=is_fmi3)
    units = _units(root)
    starts = (
        {node.get("valueReference"): node.get("start", "") for node in nodes} if is_fmi3 else {}
    )
    variables = [
        _variable(node, is_fmi3=is_fmi3, types=types, units=units, starts=starts) for node in nodes
    ]
    for variable in variables:
        if variable.type == "Clock" and variable.causality == "input":
            text = (
                f"The FMU has the input clock {variable.name!r}: its ticks are made by the program that "
                "simulates, which this validator cannot do. Export the model without input clocks."
            )
            raise FmuRefused(text, code="FMU_CLOCK_UNSUPPORTED")
    return {variable.name: variable for variable in variables}


def _type_definitions(root: etree._Element, *, is_fmi3: bool) -> dict[str, etree._Element]:
    """Return the elements that hold the attributes of each declared type."""
    found = {}
    for node in root.iterfind("TypeDefinitions/*"):
        typed = node if is_fmi3 else node.find("*")
        if typed is not None:
            found[node.get("name", "")] = typed
    return found


def _units(root: etree._Element) -> dict[str, Unit]:
    return {
        node.get("name", ""): Unit(
            name=node.get("name", ""),
            displayed={
                shown.get("name", ""): (
                    _or(_number(shown, "factor"), 1.0),
                    _or(_number(shown, "offset"), 0.0),
                )
                for shown in node.iterfind("DisplayUnit")
            },
        )
        for node in root.iterfind("UnitDefinitions/Unit")
    }


def _variable(
    node: etree._Element,
    *,
    is_fmi3: bool,
    types: Mapping[str, etree._Element],
    units: Mapping[str, Unit],
    starts: Mapping[str | None, str],
) -> FmuVariable:
    name, reference = node.get("name"), node.get("valueReference", "")
    if not name or not (reference.isascii() and reference.isdigit() and len(reference) <= 10):
        raise _invalid(f"a variable in line {node.sourceline} has no name or no valueReference")
    typed = _type_element(node, is_fmi3=is_fmi3)
    kind = str(typed.tag)
    declared = types.get(typed.get("declaredType", ""))

    def attribute(key: str) -> str | None:
        value: str | None = typed.get(key)
        return value if value is not None or declared is None else declared.get(key)

    continuous = kind in {"Real", "Float32", "Float64"}
    causality = node.get("causality", "local")
    variability = node.get("variability") or _variability(causality, continuous=continuous)
    unit = attribute("unit")
    return FmuVariable(
        name=name,
        causality=causality,
        type=kind,
        variability=variability,
        initial=node.get("initial") or _initial(causality, variability),
        reference=int(reference),
        unit=units.get(unit, Unit(name=unit)) if unit else None,
        relative=attribute("relativeQuantity") in {"true", "1"},
        minimum=_bound(attribute("min"), kind),
        maximum=_bound(attribute("max"), kind),
        items=_items(declared) if kind == "Enumeration" else {},
        shape=_shape(node, starts) if is_fmi3 else (),
    )


def _type_element(node: etree._Element, *, is_fmi3: bool) -> etree._Element:
    """Return the element of the type: the variable itself in FMI 3, a child in FMI 2."""
    if is_fmi3:
        if _FMI3_TYPE.fullmatch(str(node.tag)):
            return node
        raise _invalid(f"the variable {node.get('name')!r} has the unknown type {node.tag!r}")
    for child in node:
        if child.tag in _FMI2_TYPES:
            return child
    raise _invalid(f"the variable {node.get('name')!r} has no type")


def _variability(causality: str, *, continuous: bool) -> str:
    if causality in {"parameter", "calculatedParameter", "structuralParameter"}:
        return "fixed"
    return "continuous" if continuous else "discrete"


def _initial(causality: str, variability: str) -> str:
    """Return the default of `initial` (FMI 2.0.5, section 2.2.7; FMI 3.0.2, section 2.4.7.5)."""
    if causality in {"input", "independent"}:
        return ""
    exact = causality in {"parameter", "structuralParameter"} or variability == "constant"
    return "exact" if exact else "calculated"


def _items(declared: etree._Element | None) -> dict[str, int]:
    if declared is None:
        return {}
    return {
        item.get("name", ""): int(value)
        for item in declared.iterfind("Item")
        if (value := item.get("value", "")).lstrip("-").isdigit() and len(value) < 20
    }


def _shape(node: etree._Element, starts: Mapping[str | None, str]) -> tuple[int, ...]:
    sizes = []
    for dimension in node.iterfind("Dimension"):
        size = dimension.get("start") or starts.get(dimension.get("valueReference"), "")
        if not size.isdigit() or len(size) > 9:
            raise _invalid(f"the variable {node.get('name')!r} has a dimension without a size")
        sizes.append(int(size))
    if math.prod(sizes) > _ELEMENT_LIMIT:
        text = f"The variable {node.get('name')!r} has more than {_ELEMENT_LIMIT} elements."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    return tuple(sizes)


def _bound(text: str | None, kind: str) -> float | int | None:
    try:
        if text is None:
            return None
        return int(text) if kind in INTEGER_RANGES or kind == "Enumeration" else float(text)
    except ValueError:
        return None


def _number(node: etree._Element, name: str) -> float | None:
    try:
        value = float(node.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _why_not_parsed(message: str) -> str:
    """Return the parser's message without its advice to programmers."""
    if "XML_PARSE_HUGE" in message or "huge" in message.lower():
        return "it is nested too deeply, or has a name, value or text that is too long"
    return f"it is not well-formed XML ({message})"


def _invalid(why: str) -> FmuRefused:
    return FmuRefused(
        f"modelDescription.xml is not usable: {why}.", code="FMU_INVALID_MODEL_DESCRIPTION"
    )
