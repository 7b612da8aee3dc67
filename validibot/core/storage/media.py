"""Public media: Django's default storage, by django-storages in a bucket or a folder (decision 25).

Names contain the digest of the content: an existing file is never changed, and browsers keep it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage

from validibot.core.echo import echo
from validibot.core.storage import ObjectNotFound, StorageError


class MediaFolder(FileSystemStorage):
    """A folder of public media, in which a reader finds a whole file or none."""

    def save(self, name: str | None, content: IO[Any], max_length: int | None = None) -> str:
        """Write the file beside its place, and move it there."""
        part = super().save(f"{name}.{uuid4().hex}.part", content, max_length)
        path = Path(self.path(part))
        try:
            path.replace(self.path(str(name)))
        finally:
            path.unlink(missing_ok=True)
        return str(name)


def address_of(name: str) -> str:
    """Return the address of a file; no storage is asked."""
    return f"{settings.MEDIA_URL}{quote(name)}"


def put(name: str, content: bytes) -> None:
    """Write a file, or the same one again. Raises StorageError."""
    with _translated(name):
        default_storage.save(name, ContentFile(content))


def read(name: str) -> bytes:
    """Return the content of a file. Raises ObjectNotFound and StorageError."""
    with _translated(name), default_storage.open(name) as file:
        content: bytes = file.read()
    return content


def delete(name: str) -> None:
    """Delete a file if it is there. Raises StorageError."""
    with _translated(name):
        default_storage.delete(name)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, SuspiciousOperation) as error:
        raise ObjectNotFound(f"There is no public file {echo(name)}.") from error
    # Each backend has the errors of its client, which is not imported here.
    except Exception as error:
        raise StorageError(f"Public media cannot be used now: {error}") from error
