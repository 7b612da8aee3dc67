"""The tar file of a backup, and the files below a `file://` DATA_ROOT that it holds.

A tar can be written into a pipe, and is verified before it is read.
"""

import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from django.conf import settings

from validators.sdk.storage.file import path_of

FORMAT = 1
MANIFEST, DATABASE, FILES, SUMS = "manifest.json", "database.dump", "files", "sums.json"
_CHUNK_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 1024 * 1024
_MAX_SUMS_BYTES = 1024 * 1024 * 1024
# Prefix of files that are being written (validators/sdk/storage/file.py).
_DRAFT = ".new-"


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupManifest:
    """Description of a backup. `migrations` are those applied to its database, as `app.name`."""

    made_at: str
    data_root: str
    has_files: bool
    migrations: list[str]
    format: int = FORMAT


class BackupWriter:
    """Writer of a backup: `add` appends a member, `close` writes the checksums."""

    def __init__(self, output: IO[bytes], manifest: BackupManifest) -> None:
        # The caller closes the output.
        self._tar = tarfile.open(fileobj=output, mode="w|")  # noqa: SIM115
        self._sums: dict[str, str] = {}
        self._add_document(MANIFEST, asdict(manifest))

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(time.time())
        hashing = _Hashing(source)
        self._tar.addfile(info, hashing)
        self._sums[name] = hashing.digest.hexdigest()

    def close(self) -> int:
        """Write the checksums and the end of the tar; return the number of files in it."""
        count = sum(name.startswith(f"{FILES}/") for name in self._sums)
        self._add_document(SUMS, self._sums)
        self._tar.close()
        return count

    def _add_document(self, name: str, document: Any) -> None:
        content = json.dumps(document, indent=1).encode()
        self.add(name, BytesIO(content), len(content))


class _Hashing:
    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._source.read(size)
        self.digest.update(chunk)
        return chunk


def _sha256(source: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def open_backup(path: Path) -> Iterator["BackupReader"]:
    """Open and verify a backup; yield its reader. Raises BackupError."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield BackupReader(tar)
    except FileNotFoundError:
        raise BackupError(f"File not found: {path}.") from None
    except tarfile.TarError as error:
        raise BackupError(f"{path} is not a complete backup: {error}.") from None


class BackupReader:
    """A verified backup. Raises BackupError, tarfile.TarError."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name: member for member in tar.getmembers()}
        self._sums = self._document(SUMS, limit=_MAX_SUMS_BYTES)
        self._verify()
        self.manifest = self._manifest()

    def database(self) -> IO[bytes]:
        return self._open(DATABASE)

    def files(self) -> Iterator[tuple[PurePosixPath, str, IO[bytes]]]:
        """Yield path below DATA_ROOT, SHA-256 and content of each file."""
        for name, sha256 in self._sums.items():
            if name.startswith(f"{FILES}/"):
                yield PurePosixPath(name).relative_to(FILES), sha256, self._open(name)

    def _verify(self) -> None:
        if set(self._members) != {*self._sums, SUMS} or not {MANIFEST, DATABASE} <= set(self._sums):
            raise BackupError(f"The members of the backup differ from the list in {SUMS}.")
        for name, expected in self._sums.items():
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise BackupError(f"Invalid backup: the path {name!r} leads out of its folder.")
            if _sha256(self._open(name)) != expected:
                raise BackupError(f"The backup is damaged: wrong checksum of {name}.")

    def _manifest(self) -> BackupManifest:
        fields = self._document(MANIFEST, limit=_MAX_MANIFEST_BYTES)
        if fields.get("format") != FORMAT:
            raise BackupError(
                f"The backup has the format {fields.get('format')!r}; this version reads {FORMAT}."
                " Restore it with the version that made it."
            )
        try:
            manifest = BackupManifest(**fields)
        except TypeError as error:
            raise BackupError(f"The backup's manifest is invalid: {error}.") from None
        names: Any = manifest.migrations
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BackupError(
                "The backup's manifest is invalid: `migrations` must be a list of strings."
            )
        return manifest

    def _document(self, name: str, *, limit: int) -> dict[str, Any]:
        with self._open(name) as file:
            try:
                document = json.loads(file.read(limit))
            except (ValueError, RecursionError):
                document = None
        if not isinstance(document, dict):
            raise BackupError(f"The backup's {name} cannot be read.")
        return document

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        file = self._tar.extractfile(member) if member and member.isreg() else None
        if file is None:
            raise BackupError(f"The backup has no {name}: it is incomplete, or not a backup.")
        return file


def files_root() -> Path | None:
    """Return the folder of all files; None if they are in a bucket."""
    return path_of(settings.DATA_ROOT) if settings.DATA_ROOT.startswith("file:") else None


def add_files(folder: Path, writer: BackupWriter) -> None:
    """Add every regular file. Links are left out: a validator can make one to any place."""
    for path in plain_files(folder):
        # The file may be removed between listing and opening.
        with suppress(FileNotFoundError), open_without_links(path) as file:
            size = os.fstat(file.fileno()).st_size
            writer.add(f"{FILES}/{path.relative_to(folder).as_posix()}", file, size)


def restore_file(
    folder: Path, name: PurePosixPath, content: IO[bytes], sha256: str, *, replace: bool
) -> bool:
    """Write a file; return False if the same one is there already. Raises BackupError.

    A different file in its place is an error unless `replace` is set.
    """
    target = folder / name
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise BackupError(
            f"The path {target} has a link that leads out of {folder}. Remove the link."
        )
    if target.is_symlink() or target.exists():
        if _is(target, sha256):
            return False
        if not replace:
            raise BackupError(f"{target} exists with other content. Restore with --replace.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=_DRAFT, delete=False) as draft:
        shutil.copyfileobj(content, draft)
        os.fchmod(draft.fileno(), 0o644)
    Path(draft.name).replace(target)
    return True


def plain_files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder that are whole: neither links nor files being written."""
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent, name)
            with suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode) and not name.startswith(_DRAFT):
                    yield path


def open_without_links(path: Path) -> BinaryIO:
    """Open a file for reading. Raises OSError if it is a symbolic link."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _is(path: Path, sha256: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
