"""What `modelDescription.xml` says that matters before a simulation: bounded, without entities."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from validators.fmu.archive import FmuRefused

_SIZE_LIMIT = 32 << 20
_INTERFACES = ("CoSimulation", "ModelExchange")
_NUMBERS = {"Real", "Float32", "Float64"}
_STRINGS = {"String", "Enumeration", "Binary"}


@dataclass(frozen=True, kw_only=True)
class Variable:
    name: str
    causality: str
    type: str

    def accepts(self, value: Any) -> bool:
        values = value if isinstance(value, list) else [value]
        return all(self._accepts_scalar(item) for item in values)

    def _accepts_scalar(self, value: Any) -> bool:
        if self.type == "Boolean":
            return isinstance(value, bool)
        if self.type in _NUMBERS:
            return isinstance(value, int | float) and not isinstance(value, bool)
        if self.type in _STRINGS:
            return isinstance(value, str | int)
        return isinstance(value, int)


@dataclass(frozen=True, kw_only=True)
class Description:
    fmi_version: str
    model_name: str | None
    guid: str | None
    identifiers: list[str]
    """The name of the binary, for each interface that the FMU offers."""
    variables: dict[str, Variable]

    @property
    def outputs(self) -> list[str]:
        return [item.name for item in self.variables.values() if item.causality == "output"]


def read_description(folder: Path) -> Description:
    path = folder / "modelDescription.xml"
    if not path.is_file():
        text = "The archive has no modelDescription.xml: it is not an FMU."
        raise FmuRefused(text, code="FMU_NO_MODEL_DESCRIPTION")
    if path.stat().st_size > _SIZE_LIMIT:
        raise FmuRefused("modelDescription.xml is too large.", code="FMU_TOO_LARGE")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.parse(path, parser).getroot()
    except etree.XMLSyntaxError as error:
        raise _invalid(f"it is not well-formed XML ({error.msg})") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise _invalid("it declares a document type")
    return _describe(root)


def _describe(root: etree._Element) -> Description:
    version = root.get("fmiVersion", "")
    if root.tag != "fmiModelDescription" or version[:2] not in {"1.", "2.", "3."}:
        raise _invalid(f"its root is {root.tag!r} with fmiVersion {version!r}")
    identifiers = [
        node.get("modelIdentifier", "") for name in _INTERFACES for node in root.iterfind(name)
    ]
    if version.startswith("1."):
        identifiers = [root.get("modelIdentifier", "")]
    if not any(identifiers):
        raise _invalid("it offers neither co-simulation nor model exchange")
    variables = [_variable(node) for node in root.iterfind("ModelVariables/*")]
    return Description(
        fmi_version=version,
        model_name=root.get("modelName"),
        guid=root.get("guid") or root.get("instantiationToken"),
        identifiers=[name for name in identifiers if name],
        variables={variable.name: variable for variable in variables},
    )


def _variable(node: etree._Element) -> Variable:
    """FMI 1 and 2 put the type in a child, FMI 3 makes it the element."""
    kind = node.tag
    if kind == "ScalarVariable":
        kind = next((str(child.tag) for child in node if child.tag != "Annotations"), "Real")
    return Variable(
        name=node.get("name", ""), causality=node.get("causality", "local"), type=str(kind)
    )


def _invalid(why: str) -> FmuRefused:
    return FmuRefused(
        f"modelDescription.xml is not usable: {why}.", code="FMU_INVALID_MODEL_DESCRIPTION"
    )
