"""The files of a backup: those below a `file://` DATA_ROOT."""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from django.conf import settings

from validators.sdk.storage.file import path_of
from validibot.setup.backup.archive import FILES, BackupError, BackupWriter

# Prefix of files that are being written (validators/sdk/storage/file.py).
_DRAFT = ".new-"


def root() -> Path | None:
    """Return the folder of all files; None if they are in a bucket."""
    return path_of(settings.DATA_ROOT) if settings.DATA_ROOT.startswith("file:") else None


def add_all(folder: Path, writer: BackupWriter) -> None:
    """Add every regular file. Links are left out: a validator can make one to any place."""
    for path in _plain(folder):
        # The file may be removed between listing and opening.
        with suppress(FileNotFoundError), _open_without_links(path) as file:
            size = os.fstat(file.fileno()).st_size
            writer.add(f"{FILES}/{path.relative_to(folder).as_posix()}", file, size)


def restore(
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


def _plain(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent, name)
            with suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode) and not name.startswith(_DRAFT):
                    yield path


def _open_without_links(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _is(path: Path, sha256: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
