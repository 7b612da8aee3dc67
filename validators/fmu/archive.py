"""FMU as a ZIP archive, checked against limits before it is unpacked."""

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

ENTRY_LIMIT = 10_000
SIZE_LIMIT = 512 << 20
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class FmuRefused(Exception):
    """The FMU cannot be used; `code` says why."""

    def __init__(self, text: str, *, code: str) -> None:
        super().__init__(text)
        self.code = code


def unpack(archive: Path, folder: Path) -> list[str]:
    """Unpack into `folder` and return the names of the files. Raises FmuRefused."""
    try:
        with zipfile.ZipFile(archive) as file:
            entries = file.infolist()
            _check(entries)
            file.extractall(folder, entries)
            return [entry.filename for entry in entries if not entry.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        text = f"The file is not an FMU: it is not a readable ZIP archive ({error})."
        raise FmuRefused(text, code="FMU_NOT_A_ZIP") from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > ENTRY_LIMIT:
        text = f"The FMU has {len(entries)} entries; {ENTRY_LIMIT} are allowed."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    if (total := sum(entry.file_size for entry in entries)) > SIZE_LIMIT:
        text = f"The FMU unpacks to {total} bytes; {SIZE_LIMIT} are allowed."
        raise FmuRefused(text, code="FMU_TOO_LARGE")
    for entry in entries:
        _check_entry(entry)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(entry.filename):
        text = f"The FMU has an entry that leads out of its folder: {entry.filename!r}."
        raise FmuRefused(text, code="FMU_PATH_REFUSED")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise FmuRefused(
            f"The FMU has a symbolic link: {entry.filename!r}.", code="FMU_PATH_REFUSED"
        )
    if entry.flag_bits & _ENCRYPTED:
        raise FmuRefused("The FMU is encrypted.", code="FMU_NOT_A_ZIP")
