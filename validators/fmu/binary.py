"""Native code of an FMU: whether it can be loaded on this machine, and why not."""

import os
import platform
import re
import sys
from pathlib import Path

from validators.fmu.description import Description, FmuRefused
from validators.sdk.validation import Failure

_HERE = {
    ("linux", "x86_64"): ("linux64", "x86_64-linux", ".so"),
    ("linux", "aarch64"): ("aarch64-linux", "aarch64-linux", ".so"),
    ("darwin", "x86_64"): ("darwin64", "x86_64-darwin", ".dylib"),
    ("darwin", "arm64"): ("darwin64", "aarch64-darwin", ".dylib"),
}
_MISSING_LIBRARY = re.compile(r"(\S+): cannot open shared object file")
_MISSING_FUNCTION = re.compile(r"undefined symbol: (\S+)")
_PYTHON_FILES = ("resources/slavemodule.txt", "resources/slave_module.txt")


def require_binary(names: list[str], description: Description) -> None:
    """Check that the FMU has native code for this machine. Raises FmuRefused."""
    present = sorted({name.split("/")[1] for name in names if _is_binary(name)})
    if not present:
        text = "The FMU has no native code, only sources or documents; export it with binaries."
        raise FmuRefused(text, code="FMU_NO_BINARY")
    machine = (sys.platform, platform.machine())
    old, new, suffix = _HERE.get(machine, ("-".join(machine), "-".join(machine), ""))
    here = new if description.is_fmi3 else old
    wanted = [f"{name}{suffix}" for name in description.identifiers]
    found = sorted(
        name.split("/", 2)[2]
        for name in names
        if _is_binary(name) and name.startswith(f"binaries/{here}/")
    )
    if set(wanted) & set(found):
        return
    if found:
        text = (
            f"binaries/{here} has {', '.join(found[:5])}, but modelDescription.xml names "
            f"{', '.join(dict.fromkeys(wanted))} (modelIdentifier); the two must agree."
        )
        raise FmuRefused(text, code="FMU_LIBRARY_NAME")
    text = (
        f"The FMU has no native code for {here}, where it would run; "
        f"it has: {', '.join(present)}. Export it for {here} too."
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


def loading_hint(text: str, *, unpacked: Path, description: Description) -> str:
    """Return why an FMU could not be loaded or instantiated, and what it needs, in words.

    `text` is the error of FMPy or of the dynamic loader.
    """
    if found := _MISSING_FUNCTION.search(text):
        why = f"its library lacks the function {found[1]}"
    elif (found := _MISSING_LIBRARY.search(text)) and unpacked.name not in found[1]:
        why = f"it needs the library {found[1]}, which is not in the FMU and not on this machine"
    elif "Failed to instantiate" in text or "Failed to create instance" in text:
        why = "its function to create an instance returned nothing"
    else:
        why = text.replace(f"{unpacked}/", "").rstrip(".")
    return f"The FMU could not be loaded: {why}.{_needs(unpacked, description)}"


def _needs(unpacked: Path, description: Description) -> str:
    is_python = any((unpacked / name).is_file() for name in _PYTHON_FILES)
    if is_python or "pythonfmu" in description.generation_tool.lower():
        return (
            " It was made with PythonFMU and needs a Python interpreter with the packages of its "
            "model (resources/requirements.txt), which this validator does not have. Export the "
            "model as a stand-alone FMU."
        )
    if description.needs_tool:
        tool = description.generation_tool or "the tool that exported it"
        return (
            f" It is coupled to a tool (needsExecutionTool) and needs {tool} on the machine, which "
            "this validator does not have. Export the model as a stand-alone FMU."
        )
    return ""


def _is_binary(name: str) -> bool:
    return (
        name.startswith("binaries/")
        and name.count("/") > 1
        and name.endswith((".so", ".dll", ".dylib"))
    )
