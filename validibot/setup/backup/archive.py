"""The tar of a backup: written in one go, also into a pipe; read only after it was verified."""

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
    """The deployment of which a backup was made. `migrations`: those of its database, `app.name`."""

    made_at: str
    data_root: str
    has_files: bool
    migrations: list[str]
    format: int = FORMAT


class BackupWriter:
    """Writer of a backup: adds one member after the other; `close` writes their sums."""

    def __init__(self, output: IO[bytes], manifest: BackupManifest) -> None:
        # Whoever gave us the output closes it.
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
        """Write the end; return how many files are in it."""
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
    """Verify a backup and let it be read. Raises BackupError."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield BackupReader(tar)
    except FileNotFoundError:
        raise BackupError(f"There is no file {path}.") from None
    except tarfile.TarError as error:
        raise BackupError(f"{path} is no backup, or a part of one: {error}.") from None


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
            raise BackupError("The backup does not hold what its list of sums says.")
        for name, expected in self._sums.items():
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise BackupError(f"The backup has a file {name!r}, which leads elsewhere.")
            if _sha256(self._open(name)) != expected:
                raise BackupError(f"The backup is damaged: {name} is not what it was.")

    def _manifest(self) -> BackupManifest:
        said = self._document(MANIFEST, limit=_MAX_MANIFEST_BYTES)
        if said.get("format") != FORMAT:
            raise BackupError(
                f"The backup has the format {said.get('format')!r}, and this version reads {FORMAT}."
                " Restore it with the version that made it."
            )
        try:
            manifest = BackupManifest(**said)
        except TypeError as error:
            raise BackupError(f"The backup's manifest is wrong: {error}.") from None
        seen: Any = manifest.migrations
        if not isinstance(seen, list) or not all(isinstance(name, str) for name in seen):
            raise BackupError("The backup's manifest is wrong: migrations is no list of texts.")
        return manifest

    def _document(self, name: str, *, limit: int) -> dict[str, Any]:
        with self._open(name) as file:
            try:
                said = json.loads(file.read(limit))
            except (ValueError, RecursionError):
                said = None
        if not isinstance(said, dict):
            raise BackupError(f"The backup's {name} cannot be read.")
        return said

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        file = self._tar.extractfile(member) if member and member.isreg() else None
        if file is None:
            raise BackupError(f"The backup lacks {name}: it was cut off, or is no backup.")
        return file
