"""Bundles: a workflow file and the files that it names, as one zip file."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from validibot.core.echo import echo
from validibot.workflows.document import ImportInvalid, ImportProblem

NAME = "workflow.yaml"
MAX_ENTRIES = 200
MAX_BYTES = 96 * 1024 * 1024
_MAGIC = b"PK\x03\x04"
# zipfile expands what the other methods have packed without any limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# The earliest date that a zip file can hold: the same content gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


class Bundle(NamedTuple):
    """The text of a workflow file, and the bytes of its files by their path."""

    text: bytes
    files: Mapping[str, bytes]


def is_bundle(content: bytes) -> bool:
    """Return whether the bytes claim to be a zip file."""
    return content.startswith(_MAGIC)


def read_bundle(content: bytes) -> Bundle:
    """Read a zip file; nothing is written to disk. Raises ImportInvalid."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(entries)
            files = {entry.filename: _read(archive, entry) for entry in entries}
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        zlib.error,
    ) as error:
        raise _invalid(f"The zip file cannot be read: {error}.") from None
    if NAME not in files:
        raise _invalid(f"The zip file has no {NAME} at its top.")
    return Bundle(files.pop(NAME), files)


def write_bundle(bundle: Bundle) -> bytes:
    """Return a zip file; equal bundles give equal bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in ((NAME, bundle.text), *sorted(bundle.files.items())):
            entry = zipfile.ZipInfo(path, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return target.getvalue()


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return a file. `archive.read` would unpack more than the size that the archive declares."""
    with archive.open(entry) as file:
        return file.read(entry.file_size)


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    """Check number, size and compression before anything is unpacked."""
    if len(entries) > MAX_ENTRIES:
        raise _invalid(f"The zip file has {len(entries):,} files; at most {MAX_ENTRIES} are read.")
    size = sum(entry.file_size for entry in entries)
    if size > MAX_BYTES:
        raise _invalid(
            f"The files of the zip file have {size:,} bytes; at most {MAX_BYTES:,} are read."
        )
    if packed := next((each for each in entries if each.compress_type not in _METHODS), None):
        raise _invalid(
            f"The zip file has {echo(packed.filename)} with compression method"
            f" {packed.compress_type}; only deflate is read. Pack it again."
        )
    names = [entry.filename for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _invalid(f"The zip file contains {echo(twice)} twice.")


def _invalid(message: str) -> ImportInvalid:
    return ImportInvalid(ImportProblem(message))
