"""The weather catalogue: EPW files, and the DDY and STAT files beside them, stored once by digest.

A step names an entry (`Step.weather`), and a launch may name another. The run keeps the files that
the name meant when it was started, so that loading another file under the name changes no result.
"""

import hashlib
from pathlib import Path
from typing import Any

from django.conf import settings

from validibot.core.storage import ObjectExists, StorageError, get_storage
from validibot.workflows.models import WEATHER_TYPE, WeatherFile

WEATHER_PORT = "weather_file"
_COMPANIONS = {
    ".ddy": ("design_days", "energyplus_design_days"),
    ".stat": ("weather_statistics", "energyplus_weather_statistics"),
}
"""Port and type of the files beside an EPW file, by suffix."""

WEATHER_PORTS = frozenset({WEATHER_PORT, *(port for port, _ in _COMPANIONS.values())})
MAX_WEATHER_BYTES = 64 * 1024 * 1024


class WeatherInvalid(Exception):
    """A file is not weather; the message names it and says what is wrong."""


def load_weather(epw: Path) -> tuple[WeatherFile, bool]:
    """Store an EPW file with the DDY and STAT of its name beside it; return its entry and if it is new.

    Raises WeatherInvalid and StorageError.
    """
    content = _read(epw)
    location = _location(epw, content)
    files = [_kept(epw, content, WEATHER_PORT, WEATHER_TYPE)]
    for suffix, (port_key, kind) in _COMPANIONS.items():
        beside = (epw.with_suffix(each) for each in (suffix, suffix.upper()))
        if found := next((path for path in beside if path.is_file()), None):
            files.append(_kept(found, _read(found), port_key, kind))
    return WeatherFile.objects.update_or_create(
        name=epw.stem, defaults={"location": location, "files": files}
    )


def store_by_digest(name: str, content: bytes) -> tuple[str, str, str]:
    """Store a file below the data root unless it is there; return URI, version and SHA-256.

    Raises StorageError.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    uri = f"{settings.DATA_ROOT}/library/{sha256}/{name}"
    storage = get_storage(uri)
    version = storage.current(uri)
    if version is None:
        try:
            stored = storage.create(uri, content, mime_type="application/octet-stream")
        except ObjectExists:  # a concurrent setup wrote it
            version = storage.current(uri)
        else:
            version = stored.version
    if version is None:
        raise StorageError(f"{uri} was deleted while it was being stored.")
    return uri, version, sha256


def _kept(path: Path, content: bytes, port_key: str, kind: str) -> dict[str, Any]:
    uri, version, sha256 = store_by_digest(path.name, content)
    return {
        "port_key": port_key,
        "type": kind,
        "name": path.name,
        "uri": uri,
        "storage_version": version,
        "size_bytes": len(content),
        "sha256": sha256,
    }


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_WEATHER_BYTES:
            raise WeatherInvalid(
                f"{path} has {size:,} bytes; allowed are 1 to {MAX_WEATHER_BYTES:,}."
            )
        return path.read_bytes()
    except OSError as error:
        raise WeatherInvalid(f"{path} cannot be read: {error.strerror}.") from None


def _location(path: Path, content: bytes) -> str:
    """Return city, region and country of the first line, `LOCATION,City,Region,Country,…`."""
    if path.suffix.lower() != ".epw":
        raise WeatherInvalid(f"{path} is no EPW file: its name must end in .epw.")
    first = content[:1000].decode("utf-8", "replace").splitlines()[0]
    fields = [" ".join(field.split()) for field in first.split(",")]
    if fields[0].upper() != "LOCATION" or len(fields) < 10:
        raise WeatherInvalid(
            f"{path} is no EPW file: its first line must be LOCATION with 9 fields."
        )
    return ", ".join(field for field in fields[1:4] if field not in ("", "-"))[:200]
