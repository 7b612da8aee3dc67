"""Output files of a run as artifacts: all that the engine wrote, and its time series as CSV.

A child process writes the time series (`series.py`). Large texts are compressed.
"""

import gzip
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus import series
from validators.sdk.process import WaitingProgram
from validators.sdk.validation import ArtifactFile

COMPRESS_ABOVE = 8 << 20
SIZE_LIMIT = 2 << 30

_TYPES = {
    "eplusout.sql": "simulation-db",
    "eplusout.csv": "timeseries-csv",
    "eplusout.err": "err-log",
    "eplusout.eso": "eso",
    "eplustbl.htm": "report-html",
    "eplusout_zones.csv": "zone-summary",
}
_MIME_TYPES = {
    ".csv": "text/csv",
    ".dxf": "image/vnd.dxf",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".json": "application/json",
    ".sql": "application/vnd.sqlite3",
    ".svg": "image/svg+xml",
    ".tab": "text/tab-separated-values",
    ".xml": "application/xml",
}
_BINARY = {".sql", ".cbor", ".msgpack", ".glhe"}


class SeriesWriter(WaitingProgram):
    """Process that waits beside the simulation and then writes its time series."""

    def __init__(self, run: Path, *, folder: Path, timeout: float, memory_mb: int | None) -> None:
        self._run, self._folder = run, folder
        folder.mkdir()
        super().__init__(
            [sys.executable, "-I", "-S", Path(series.__file__), run, folder],
            folder=folder,
            timeout=timeout,
            memory_mb=memory_mb,
        )

    def result(self) -> list[ValidationMessage]:
        """Put the files into the run's folder; return messages about what was left out."""
        ended = self.ended()
        if ended.returncode == 0:
            texts = json.loads(ended.stdout_tail)
            for path in self._folder.glob("*.csv"):
                path.rename(self._run / path.name)
        else:
            reason = "the time limit" if ended.timed_out else ended.stderr_tail.strip()[-500:]
            text = f"The time series were not written ({reason or ended.signal_name})."
            texts = [f"{text} The values are in eplusout.sql."]
        return [_warning(text, code="ENERGYPLUS_SERIES_LEFT_OUT") for text in texts]


def finished(folder: Path) -> list[ArtifactFile]:
    """Return the artifacts that do not change any more when the engine has ended.

    The engine may write a file of the same name as a time series, which replaces it.
    """
    return [item for item in collect(folder)[0] if item.path.name not in series.FILES]


def collect(folder: Path) -> tuple[list[ArtifactFile], list[ValidationMessage]]:
    """Return the artifacts in a run's folder, and a message for each file that was left out.

    Texts above `COMPRESS_ABOVE` bytes are compressed with gzip and get `.gz` behind their name; CSV
    and HTML stay as they are, because people open them. Empty files are no artifacts. Calling it
    again, when there are more files, changes nothing about the first ones.
    """
    artifacts = []
    messages = []
    for path in sorted(_written(folder)):
        name = path.name.removesuffix(".gz")
        kind = _TYPES.get(name) or ("timeseries-csv" if _is_series(path) else "file")
        mime_type = _MIME_TYPES.get(path.suffix, "text/plain")
        if path.suffix in _BINARY and path.suffix not in _MIME_TYPES:
            mime_type = "application/octet-stream"
        if mime_type in {"text/plain", "application/json"} and (
            path.stat().st_size > COMPRESS_ABOVE
        ):
            path, mime_type = _compressed(path), "application/gzip"  # noqa: PLW2901
        if (size := path.stat().st_size) > SIZE_LIMIT:
            messages.append(_left_out(path.name, size))
        else:
            artifacts.append(ArtifactFile(path=path, type=kind, mime_type=mime_type))
    return artifacts, messages


def _written(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        ours = path.name.startswith("eplus") and not path.is_symlink()
        if ours and path.is_file() and path.stat().st_size:
            yield path


def _is_series(path: Path) -> bool:
    return path.name.startswith("eplusout_") and path.suffix == ".csv"


def _compressed(path: Path) -> Path:
    """Compress a file beside it and remove it."""
    target = path.with_name(f"{path.name}.gz")
    # Level 1: these files shrink to a tenth with it, and higher levels take several times as long.
    with path.open("rb") as source, gzip.open(target, "wb", compresslevel=1) as file:
        shutil.copyfileobj(source, file, 1 << 20)
    path.unlink()
    return target


def _left_out(name: str, size: int) -> ValidationMessage:
    text = (
        f"{name} was not kept: it has {size >> 20:,} MB, and an output file may have "
        f"{SIZE_LIMIT >> 20:,} MB. Request fewer variables, or a coarser reporting frequency."
    )
    return _warning(text, code="ENERGYPLUS_FILE_LEFT_OUT")


def _warning(text: str, *, code: str) -> ValidationMessage:
    return ValidationMessage(severity=Severity.WARNING, code=code, text=text)
