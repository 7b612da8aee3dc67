"""`doctor`: checks of this machine and of the stack, each with what helps."""

import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from devenv.cli.context import Context
from devenv.cli.output import CliOutput
from devenv.config import FILE, Config, load
from devenv.environment import (
    adc_file,
    certificate_bundles,
    foreign_credentials,
    machine,
    proxies,
)
from devenv.gcp.tables import ConfigError
from devenv.stack import ports
from devenv.stack.problems import Check, StateUnreadable

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
_FOR = "needed only for JOBS=docker and RUNTIME=docker"
_MIB = 1024 * 1024
_CHECK_SECONDS = 20
_PYTHON = (3, 11)


def run(root: Path, output: CliOutput) -> int:
    """Check this machine, and the stack of a folder if its devenv.toml is valid."""
    try:
        found = every(Context(config=load(root), output=output))
    except ConfigError as error:
        there = (root / FILE).exists()
        fix = f"edit {FILE}" if there else "devenv init"
        found = [Check("stack", "fail" if there else "warn", str(error), fix), *of_machine()]
    return report(found, output)


def report(found: Sequence[Check], output: CliOutput) -> int:
    """Print the results; return 1 if a check failed."""
    text = Text("\n").join(line(check, output) for check in found)
    output.result([asdict(check) for check in found], text)
    return 1 if any(check.result == "fail" for check in found) else 0


def line(check: Check, output: CliOutput) -> Text:
    """Return a result as a line, and its fix below."""
    mark, colour = _MARKS[check.result]
    text = Text.assemble("  ", (mark, colour), f" {check.name:<13} {check.text}")
    if check.fix:
        text.append(f"\n    {'':<13} ").append(output.worded(check.fix), style="bold")
    return text


def every(context: Context) -> list[Check]:
    """Return the results of all checks."""
    return [
        *of_machine(),
        *declared(context.config),
        listening(context),
        disk(context),
        clock(context),
        state(context),
    ]


def of_machine() -> list[Check]:
    """Return the results of the checks that need no stack."""
    return [system(), python(), credentials(), containers(), proxy(), certificates()]


def system() -> Check:
    """Say what this operating system lacks: everything is made for Linux, and works on macOS."""
    name = platform.system()
    if name == "Linux":
        return Check("system", "ok", f"Linux {platform.release()}")
    if name == "Darwin":
        return Check(
            "system",
            "ok",
            f"macOS {platform.mac_ver()[0]}: services and jobs are processes; one that is reloaded "
            "is not reached for a moment; memory of jobs is measured by ps",
            "JOBS=docker for images that are made for Linux",
        )
    return Check(
        "system", "warn", f"{platform.system()} was never tried", "use Linux, macOS or WSL"
    )


def python() -> Check:
    version = platform.python_version()
    if sys.version_info >= _PYTHON:
        return Check("python", "ok", version)
    wanted = ".".join(str(number) for number in _PYTHON)
    return Check("python", "fail", f"{version}, older than {wanted}", "rm -rf .venv && make up")


def declared(config: Config, *, at_up: bool = False) -> list[Check]:
    """Return the results of the checks of devenv.toml, or of those that `up` makes, too."""
    references = config.check_references()
    return [
        _declared(name, tuple(references.expand(word) for word in check.command), config)
        for name, check in config.checks.items()
        if check.up or not at_up
    ]


def _declared(name: str, command: tuple[str, ...], config: Config) -> Check:
    """Run a check: its output is a text and, in the second line, what helps."""
    try:
        done = subprocess.run(
            command,
            cwd=config.root,
            env=machine(config.about.hide),
            capture_output=True,
            text=True,
            timeout=_CHECK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, "warn", f"could not be checked: {error}", shlex.join(command))
    text, _, fix = done.stdout.strip().partition("\n")
    if done.returncode == 0:
        return Check(name, "ok", text)
    return Check(name, "warn", text or "failed without a word", fix or shlex.join(command))


def disk(context: Context) -> Check:
    free = shutil.disk_usage(context.config.root).free // _MIB
    if free < 500:
        return Check("disk", "fail", f"{free} MiB free", "make reset, or delete something else")
    if free < 2000:
        return Check("disk", "warn", f"{free} MiB free", "annual simulations need some room")
    return Check("disk", "ok", f"{free // 1024} GiB free")


def clock(context: Context) -> Check:
    """Check that the clock was not turned back: files would be from the future."""
    ahead = context.config.file.stat().st_mtime - time.time()
    if ahead > 60:
        return Check(
            "clock",
            "warn",
            f"{context.config.file.name} comes from the future: {ahead / 60:.0f} minutes ahead",
            "set this machine's clock",
        )
    return Check("clock", "ok", "plausible")


def containers() -> Check:
    """Look for Docker, which only JOBS=docker and RUNTIME=docker need."""
    from containers import ContainerEngine, EngineUnavailable  # noqa: PLC0415 - needs the docker package

    try:
        ContainerEngine(owner="doctor").ping()
    except EngineUnavailable:
        return Check("engine", "ok", f"no Docker engine answers; {_FOR}")
    if not _has_compose():
        return Check("engine", "ok", "Docker answers; for RUNTIME=docker it lacks docker compose")
    return Check("engine", "ok", "Docker answers, with docker compose")


def _has_compose() -> bool:
    if (program := shutil.which("docker")) is None:
        return False
    return not subprocess.run(
        [program, "compose", "version"], capture_output=True, check=False
    ).returncode


def listening(context: Context) -> Check:
    if context.is_running():
        return Check("ports", "ok", "taken by this developer environment")
    config = context.config
    wanted = config.stacks[config.layers(config.about.profile)].wanted_ports()
    if taken := [port for port in wanted.values() if not ports.is_free(port)]:
        held = ", ".join(f"{port} by {ports.holder(port)}" for port in taken)
        return Check(
            "ports",
            "warn",
            f"taken: {held}",
            "nothing: the next free ones are used; or choose others in devenv.toml",
        )
    return Check("ports", "ok", "free")


def state(context: Context) -> Check:
    try:
        last = context.state()
    except StateUnreadable as error:
        return Check("state", "warn", error.message, "make up, which creates it again")
    if context.is_running():
        return Check("state", "ok", f"{last.phase}, process {last.pid}")
    if last.phase == "failed":
        return Check("state", "warn", f"the last start failed: {last.error}", "make logs, make up")
    if last.phase in ("starting", "ready", "stopping"):
        return Check("state", "warn", "the last run was killed; nothing is lost", "make up")
    return Check("state", "ok", "stopped")


def credentials() -> Check:
    if names := foreign_credentials():
        return Check(
            "credentials",
            "warn",
            f"{', '.join(names)} may open a real Google Cloud; our services do not get it",
            f"unset {' '.join(names)}",
        )
    if (file := adc_file()).is_file():
        return Check("credentials", "ok", f"{file} is yours; only MODE=tunnel reads it")
    return Check("credentials", "ok", "none for a real cloud")


def proxy() -> Check:
    if names := proxies():
        return Check(
            "proxy",
            "warn",
            f"{names[0]} also sends requests for localhost to a proxy",
            "export no_proxy=localhost,127.0.0.1",
        )
    return Check("proxy", "ok", "localhost is reached directly")


def certificates() -> Check:
    """Check the bundles that variables name: a missing one makes every TLS connection fail."""
    bundles = certificate_bundles()
    if lost := [name for name, path in bundles.items() if not path.is_file()]:
        return Check(
            "certificates",
            "fail",
            f"{lost[0]} names {bundles[lost[0]]}, which is not a file",
            f"unset {' '.join(lost)}",
        )
    told = f"those of {', '.join(bundles)}" if bundles else "the system's own"
    return Check("certificates", "ok", told)
