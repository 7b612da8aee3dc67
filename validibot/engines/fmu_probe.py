"""Reading of the variables of an FMU (FMI 2.0 and 3.0) without running it.

`probe` is for authors who set up a simulation; the engine checks submitted FMUs. Both refuse what
the container validator for FMUs refuses before a simulation, except for native code and options.
"""

import re
import stat
import time
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from lxml import etree
from validibot_shared.fmu.models import FMUProbeResult, FMUVariableMeta

from validibot.engines.base import (
    Document,
    Engine,
    EngineManifest,
    FileType,
    Output,
    Result,
)
from validibot.engines.json_text import JSON
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.xml_text import parse_xml

MAX_ENTRIES = 10_000
MAX_BYTES = 512 * 1024 * 1024
MAX_DESCRIPTION_BYTES = 16 * 1024 * 1024
MAX_VARIABLES = 100_000
MAX_SHOWN = 1000
_DESCRIPTION = "modelDescription.xml"
_ENCRYPTED = 0x1
# The methods of FMI 2.0.5, section 2.3; zipfile expands what others have packed without any limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_FMI2_TYPES = ("Real", "Integer", "Boolean", "String", "Enumeration")
_INTERFACES = ("CoSimulation", "ModelExchange")
_FMI3_TYPE = re.compile(r"Float(32|64)|U?Int(8|16|32|64)|Boolean|String|Binary|Enumeration|Clock")


def probe(content: bytes) -> FMUProbeResult:
    """Return the variables of an FMU, or the reason why they cannot be read. Never raises."""
    started = time.perf_counter()
    try:
        variables = _variables(parse_xml(_read_description(content)))
    except BadDocument as bad:
        return FMUProbeResult.failure(errors=[str(bad)])
    return FMUProbeResult.success(
        variables=variables, execution_seconds=time.perf_counter() - started
    )


def _read_description(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            _check_entries(archive.infolist())
            with archive.open(_DESCRIPTION) as file:
                # Read with a limit: the size in the archive may be wrong.
                description = file.read(MAX_DESCRIPTION_BYTES + 1)
    except KeyError:
        raise _bad(f"The archive has no {_DESCRIPTION}.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        raise _bad("The file is not an FMU: it is not a readable zip archive.") from None
    if len(description) > MAX_DESCRIPTION_BYTES:
        raise _bad(f"{_DESCRIPTION} has more than {MAX_DESCRIPTION_BYTES} bytes.")
    return description


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _bad(f"The archive has more than {MAX_ENTRIES} entries.")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise _bad(f"The archive unpacks to more than {MAX_BYTES} bytes.")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or _DRIVE.match(entry.filename):
            raise _bad(f"The archive has an entry outside its folder: {entry.filename!r}.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _bad(f"The archive has a symbolic link: {entry.filename!r}.")
        if entry.flag_bits & _ENCRYPTED:
            raise _bad("The archive is encrypted.")
        if entry.compress_type not in _METHODS:
            raise _bad(f"The archive has {entry.filename!r} packed otherwise than by deflate.")


def _check_interfaces(root: etree._Element) -> None:
    if any(node.get("modelIdentifier") for name in _INTERFACES for node in root.iterfind(name)):
        return
    if root.find("ScheduledExecution") is not None:
        raise _bad(
            "The FMU offers only scheduled execution, which needs a real-time scheduler; "
            "export it for co-simulation or model exchange."
        )
    raise _bad("The FMU offers neither co-simulation nor model exchange.")


def _variables(root: etree._Element) -> list[FMUVariableMeta]:
    version = root.get("fmiVersion", "")
    if root.tag != "fmiModelDescription" or version[:2] not in ("2.", "3."):
        raise _bad(
            f"{_DESCRIPTION} is not of FMI 2 or 3, but of {version or root.tag!r}; "
            "export the model as FMI 2.0 or 3.0."
        )
    if root.getroottree().docinfo.internalDTD is not None:
        raise _bad(f"{_DESCRIPTION} declares a document type.")
    _check_interfaces(root)
    found = root.find("ModelVariables")
    elements = [] if found is None else list(found.iterchildren("*"))
    if len(elements) > MAX_VARIABLES:
        raise _bad(f"The model has more than {MAX_VARIABLES} variables.")
    return [_variable(element, version) for element in elements]


def _variable(element: etree._Element, version: str) -> FMUVariableMeta:
    name = element.get("name")
    reference = element.get("valueReference", "")
    if not name or not (reference.isascii() and reference.isdigit() and len(reference) <= 10):
        raise _bad(f"A variable in line {element.sourceline} has no name or no valueReference.")
    typed = _type_element(element, version)
    if typed.tag == "Clock" and element.get("causality") == "input":
        raise _bad(
            f"The FMU has the input clock {name!r}: its ticks are made by the program that simulates,"
            " which the validator cannot do. Export the model without input clocks."
        )
    return FMUVariableMeta(
        name=name,
        causality=element.get("causality", "local"),
        variability=element.get("variability"),
        value_reference=int(reference),
        value_type=str(typed.tag),
        unit=typed.get("unit"),
    )


def _type_element(element: etree._Element, version: str) -> etree._Element:
    """Return the element that has the type: the variable's own in FMI 3, its child in FMI 2."""
    if version.startswith("3."):
        if _FMI3_TYPE.fullmatch(str(element.tag)):
            return element
        raise _bad(f"The variable {element.get('name')!r} has the unknown type {element.tag!r}.")
    for child in element:
        if child.tag in _FMI2_TYPES:
            return child
    raise _bad(f"The variable {element.get('name')!r} has no type.")


def _bad(message: str) -> BadDocument:
    return BadDocument(DocumentProblem(message, code="fmu.invalid"))


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check the description of an FMU; return its inputs, outputs and parameters as outputs."""
    result = probe(document.content)
    if result.status != "success":
        return Result(tuple(DocumentProblem(error, code="fmu.invalid") for error in result.errors))
    usable = [v for v in result.variables if v.causality in ("input", "output", "parameter")]
    shown: list[JSON] = [v.model_dump(mode="json") for v in usable[:MAX_SHOWN]]
    return Result(outputs={"variable_count": len(result.variables), "variables": shown})


ENGINE = Engine(
    EngineManifest(
        slug="fmu-probe",
        title="FMU description",
        description="Reads the variables of a Functional Mock-up Unit without running it.",
        validation_type="FMU",
        version="1",
        accepts=(FileType(".fmu", "application/vnd.fmi.fmu"),),
        outputs=(
            Output("variable_count", "Variables", "", "variable_count"),
            Output("variables", "Inputs, outputs and parameters", "", "variables"),
        ),
    ),
    check,
)
