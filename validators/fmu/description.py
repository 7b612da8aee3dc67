"""Description and native code of an FMU, checked before a simulation.

`modelDescription.xml` is parsed without entities and up to a size limit.
"""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from validators.fmu.archive import FmuRefused
from validators.sdk.validation import Failure

_SIZE_LIMIT = 32 << 20
_INTERFACES = ("CoSimulation", "ModelExchange")
_NUMBERS = {"Real", "Float32", "Float64"}
_STRINGS = {"String", "Enumeration", "Binary"}
_HERE = {
    ("linux", "x86_64"): ("linux64", "x86_64-linux", ".so"),
    ("linux", "aarch64"): ("aarch64-linux", "aarch64-linux", ".so"),
    ("darwin", "x86_64"): ("darwin64", "x86_64-darwin", ".dylib"),
    ("darwin", "arm64"): ("darwin64", "aarch64-darwin", ".dylib"),
}


@dataclass(frozen=True, kw_only=True)
class FmuVariable:
    """Variable of an FMU."""

    name: str
    causality: str
    type: str

    def accepts(self, value: Any) -> bool:
        """Return whether a value, or each value of a list, has the variable's type."""
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
    """Model description. `identifiers` are the names of the binaries, one for each interface."""

    fmi_version: str
    model_name: str | None
    guid: str | None
    identifiers: list[str]
    variables: dict[str, FmuVariable]

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
    if path.stat().st_size > _SIZE_LIMIT:
        raise FmuRefused("modelDescription.xml is too large.", code="FMU_TOO_LARGE")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.parse(path, parser).getroot()
    except etree.XMLSyntaxError as error:
        raise _invalid(_why_not_parsed(error.msg)) from error
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


def _variable(node: etree._Element) -> FmuVariable:
    """Read a variable; its type is a child element in FMI 1 and 2, the element itself in FMI 3."""
    kind = node.tag
    if kind == "ScalarVariable":
        children = (str(child.tag) for child in node.iterchildren("*"))
        kind = next((tag for tag in children if tag != "Annotations"), "Real")
    return FmuVariable(
        name=node.get("name", ""), causality=node.get("causality", "local"), type=str(kind)
    )


def _why_not_parsed(message: str) -> str:
    """Return the parser's message without its advice to programmers."""
    if "XML_PARSE_HUGE" in message or "huge" in message.lower():
        return "it is nested too deeply, or has a name, value or text that is too long"
    return f"it is not well-formed XML ({message})"


def _invalid(why: str) -> FmuRefused:
    return FmuRefused(
        f"modelDescription.xml is not usable: {why}.", code="FMU_INVALID_MODEL_DESCRIPTION"
    )


def require_binary(names: list[str], description: Description) -> None:
    """Check that the FMU has native code for this machine. Raises FmuRefused."""
    present = sorted({name.split("/")[1] for name in names if _is_binary(name)})
    if not present:
        text = "The FMU has no native code, only sources or documents."
        raise FmuRefused(text, code="FMU_NO_BINARY")
    machine = (sys.platform, platform.machine())
    old, new, suffix = _HERE.get(machine, ("-".join(machine), "-".join(machine), ""))
    here = new if description.fmi_version.startswith("3.") else old
    wanted = {f"binaries/{here}/{name}{suffix}" for name in description.identifiers}
    if not wanted & set(names):
        text = (
            f"The FMU has no native code for {here}, where it would run; "
            f"it has: {', '.join(present)}."
        )
        raise FmuRefused(text, code="FMU_PLATFORM_MISMATCH")


def require_executable(folder: Path) -> None:
    """Check that libraries can be loaded from the folder. Raises Failure.

    Docker mounts a tmpfs with `noexec` by default.
    """
    if sys.platform == "linux" and os.statvfs(folder).f_flag & os.ST_NOEXEC:
        text = (
            f"Native code of an FMU may not run in {folder}, because it is mounted noexec. "
            "Mount it with exec (docker run --tmpfs /tmp:exec), "
            "or name another folder in VALIDIBOT_ATTEMPT_SCRATCH_ROOT."
        )
        raise Failure(text, code="FMU_FOLDER_NOEXEC")


def _is_binary(name: str) -> bool:
    return name.startswith("binaries/") and name.endswith((".so", ".dll", ".dylib"))
