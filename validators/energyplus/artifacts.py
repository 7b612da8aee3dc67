"""Output files of a run as artifacts: all that the engine wrote, large texts compressed."""

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

from validibot_shared.validations.envelopes import Severity, ValidationMessage

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
    ".htm": "text/html",
    ".json": "application/json",
    ".sql": "application/vnd.sqlite3",
    ".svg": "image/svg+xml",
    ".tab": "text/tab-separated-values",
    ".xml": "application/xml",
}
_BINARY = {".sql", ".cbor", ".msgpack", ".glhe"}


def collect(folder: Path) -> tuple[list[ArtifactFile], list[ValidationMessage]]:
    """Return the artifacts in a run's folder, and a message for each file that was left out.

    Texts above `COMPRESS_ABOVE` bytes are compressed with gzip and get `.gz` behind their name; CSV
    and HTML stay as they are, because people open them. Empty files are no artifacts.
    """
    artifacts = []
    messages = []
    for path in sorted(_written(folder)):
        kind = _TYPES.get(path.name) or ("timeseries-csv" if _is_series(path) else "file")
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
    return ValidationMessage(severity=Severity.WARNING, code="ENERGYPLUS_FILE_LEFT_OUT", text=text)
