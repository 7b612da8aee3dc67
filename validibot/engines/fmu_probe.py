"""Reading of the variables of an FMU (FMI 2.0 and 3.0) without running it.

`describe_in_child` is for authors who set up a simulation; the engine checks submitted FMUs. Both
refuse what the container validator for FMUs refuses before a simulation, except for native code and
options.
"""

import re
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from lxml import etree
from validibot_shared.fmu.models import FMUProbeResult, FMUVariableMeta

from validibot.core.echo import echo
from validibot.engines.base import (
    Document,
    Engine,
    EngineManifest,
    FileType,
    Output,
    Result,
)
from validibot.engines.fmu_variables import ModelVariable
from validibot.engines.json_text import JSON
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.sandbox import run_in_child
from validibot.engines.xml_text import parse_xml

MAX_ENTRIES = 10_000
MAX_BYTES = 512 * 1024 * 1024
MAX_DESCRIPTION_BYTES = 16 * 1024 * 1024
MAX_VARIABLES = 100_000
MAX_SHOWN = 1000
MAX_TEXT = 500
_DESCRIPTION = "modelDescription.xml"
_ENCRYPTED = 0x1
# The methods of FMI 2.0.5, section 2.3; zipfile expands what others have packed without any limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Errors that zipfile raises for a damaged archive.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
    *(RuntimeError, EOFError, OSError, ValueError),
)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_FMI2_TYPES = ("Real", "Integer", "Boolean", "String", "Enumeration")
_INTERFACES = ("CoSimulation", "ModelExchange")
_FMI3_TYPE = re.compile(r"Float(32|64)|U?Int(8|16|32|64)|Boolean|String|Binary|Enumeration|Clock")


def probe(content: bytes) -> FMUProbeResult:
    """Return the variables of an FMU, or the reason why they cannot be read. Never raises."""
    started = time.perf_counter()
    try:
        found = read_variables(content)
    except BadDocument as bad:
        return FMUProbeResult.failure(errors=[str(bad)])
    variables = [
        FMUVariableMeta(
            name=each.name,
            causality=each.causality,
            variability=each.variability or None,
            value_reference=each.reference,
            value_type=each.type,
            unit=each.unit or None,
        )
        for each in found
    ]
    return FMUProbeResult.success(
        variables=variables, execution_seconds=time.perf_counter() - started
    )


def read_variables(content: bytes) -> list[ModelVariable]:
    """Return the variables of an FMU. Raises BadDocument."""
    return _variables(parse_xml(_read_description(content)))


def describe_in_child(content: bytes) -> list[ModelVariable]:
    """Return the variables of an FMU, read in a child process under the engine's limits.

    Raises BadDocument and EngineBusy.
    """
    items = run_in_child(describe, None, content, ENGINE.manifest)
    if not items or "variables" not in items[-1]:
        if items:
            raise _bad(items[-1]["error"])
        manifest = ENGINE.manifest
        raise _bad(
            f"The description of the model takes more than {manifest.seconds:g} s or "
            f"{manifest.memory // 2**20} MB to read; export the model with fewer variables."
        )
    return [ModelVariable(**each) for each in items[-1]["variables"]]


def describe(_header: Any, content: bytes) -> Iterator[dict[str, JSON]]:
    """Yield the variables of an FMU or the reason why they cannot be read, as a child does."""
    try:
        yield {"variables": [asdict(each) for each in read_variables(content)]}
    except BadDocument as bad:
        yield {"error": str(bad)}


def _read_description(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            _check_entries(archive.infolist())
            with archive.open(_DESCRIPTION) as file:
                # Read with a limit: the size in the archive may be wrong.
                description = file.read(MAX_DESCRIPTION_BYTES + 1)
    except KeyError:
        raise _bad(f"The archive has no {_DESCRIPTION}.") from None
    except _UNREADABLE:
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
            raise _bad(f"The archive has an entry outside its folder: {echo(entry.filename)}.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _bad(f"The archive has a symbolic link: {echo(entry.filename)}.")
        if entry.flag_bits & _ENCRYPTED:
            raise _bad("The archive is encrypted.")
        if entry.compress_type not in _METHODS:
            raise _bad(f"The archive has {echo(entry.filename)} packed otherwise than by deflate.")


def _check_interfaces(root: etree._Element) -> None:
    if any(node.get("modelIdentifier") for name in _INTERFACES for node in root.iterfind(name)):
        return
    if root.find("ScheduledExecution") is not None:
        raise _bad(
            "The FMU offers only scheduled execution, which needs a real-time scheduler; "
            "export it for co-simulation or model exchange."
        )
    raise _bad("The FMU offers neither co-simulation nor model exchange.")


def _variables(root: etree._Element) -> list[ModelVariable]:
    version = root.get("fmiVersion", "")
    if root.tag != "fmiModelDescription" or version[:2] not in ("2.", "3."):
        raise _bad(
            f"{_DESCRIPTION} is not of FMI 2 or 3, but of {echo(version or root.tag)}; "
            "export the model as FMI 2.0 or 3.0."
        )
    if root.getroottree().docinfo.internalDTD is not None:
        raise _bad(f"{_DESCRIPTION} declares a document type.")
    _check_interfaces(root)
    found = root.find("ModelVariables")
    elements = [] if found is None else list(found.iterchildren("*"))
    if len(elements) > MAX_VARIABLES:
        raise _bad(f"The model has more than {MAX_VARIABLES} variables.")
    types = _declared_types(root, version)
    return [_variable(element, version, types) for element in elements]


def _declared_types(root: etree._Element, version: str) -> dict[str, etree._Element]:
    """Return the elements with the attributes of the declared types, by name."""
    found = {}
    for node in root.iterfind("TypeDefinitions/*"):
        typed = node if version.startswith("3.") else node.find("*")
        if typed is not None:
            found[node.get("name", "")] = typed
    return found


def _variable(
    element: etree._Element, version: str, types: Mapping[str, etree._Element]
) -> ModelVariable:
    name = element.get("name")
    reference = element.get("valueReference", "")
    if not name or not (reference.isascii() and reference.isdigit() and len(reference) <= 10):
        raise _bad(f"A variable in line {element.sourceline} has no name or no valueReference.")
    typed = _type_element(element, version)
    if typed.tag == "Clock" and element.get("causality") == "input":
        raise _bad(
            f"The FMU has the input clock {echo(name)}: its ticks are made by the program that simulates,"
            " which the validator cannot do. Export the model without input clocks."
        )
    declared = types.get(typed.get("declaredType", ""))

    def attribute(key: str) -> str:
        inherited = "" if declared is None else declared.get(key, "")
        return str(typed.get(key, inherited))[:MAX_TEXT]

    started = typed.find("Start")  # texts and bytes of FMI 3 have an element
    return ModelVariable(
        name=name,
        causality=element.get("causality", "local"),
        variability=element.get("variability", ""),
        reference=int(reference),
        type=str(typed.tag),
        unit=attribute("unit"),
        start=attribute("start") if started is None else started.get("value", "")[:MAX_TEXT],
        minimum=attribute("min"),
        maximum=attribute("max"),
        description=element.get("description", "")[:MAX_TEXT],
    )


def _type_element(element: etree._Element, version: str) -> etree._Element:
    """Return the element that has the type: the variable's own in FMI 3, its child in FMI 2."""
    if version.startswith("3."):
        if _FMI3_TYPE.fullmatch(str(element.tag)):
            return element
        raise _bad(
            f"The variable {echo(element.get('name'))} has the unknown type {echo(element.tag)}."
        )
    for child in element:
        if child.tag in _FMI2_TYPES:
            return child
    raise _bad(f"The variable {echo(element.get('name'))} has no type.")


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
