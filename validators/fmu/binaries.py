"""Which platforms an FMU has native code for, and whether this machine is one that may run it."""

import os
import platform
import sys
from pathlib import Path

from validators.fmu.archive import FmuRefused
from validators.fmu.description import Description
from validators.sdk.validation import Failure

_HERE = {
    ("linux", "x86_64"): ("linux64", "x86_64-linux", ".so"),
    ("linux", "aarch64"): ("aarch64-linux", "aarch64-linux", ".so"),
    ("darwin", "x86_64"): ("darwin64", "x86_64-darwin", ".dylib"),
    ("darwin", "arm64"): ("darwin64", "aarch64-darwin", ".dylib"),
}


def require_binary(names: list[str], description: Description) -> None:
    present = sorted({name.split("/")[1] for name in names if _is_binary(name)})
    if not present:
        text = "The FMU has no native code at all, only sources or documents."
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
    """Docker mounts a tmpfs `noexec` unless told otherwise; then no library loads from there."""
    if sys.platform == "linux" and os.statvfs(folder).f_flag & os.ST_NOEXEC:
        text = (
            f"Native code of an FMU may not run in {folder}, because it is mounted noexec. "
            "Mount it with exec (docker run --tmpfs /tmp:exec), "
            "or name another folder in VALIDIBOT_ATTEMPT_SCRATCH_ROOT."
        )
        raise Failure(text, code="FMU_FOLDER_NOEXEC")


def _is_binary(name: str) -> bool:
    return name.startswith("binaries/") and name.endswith((".so", ".dll", ".dylib"))
