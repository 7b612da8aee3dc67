"""The tar file of a backup. It can be written into a pipe, and is verified before it is read."""

import hashlib
import json
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

FORMAT = 1
MANIFEST, DATABASE, FILES, SUMS = "manifest.json", "database.dump", "files", "sums.json"
_CHUNK_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 1024 * 1024
_MAX_SUMS_BYTES = 1024 * 1024 * 1024


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
