"""Objects in Google Cloud Storage, by Google's client, constructed plainly.

The version of an object is its generation. Every request goes to the object itself: a bucket is
never asked for, which would need a permission that nobody else here needs.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import requests
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage

from validibot.core.storage.base import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageError,
    StoredObject,
)

_CHUNK_BYTES = 256 * 1024
_IN_MEMORY_BYTES = 4 * 1024 * 1024


class CloudStorage(Storage):
    """One client, and so one set of connections, for the whole process."""

    def __init__(self) -> None:
        self._client = storage.Client()

    def create(self, uri: str, content: bytes | BinaryIO, *, mime_type: str) -> StoredObject:
        source = BytesIO(content) if isinstance(content, bytes) else content
        digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
        size = source.seek(0, SEEK_END)
        blob = self._blob(uri)
        with _translated(uri):
            # With its size known, a small object travels in one request.
            blob.upload_from_file(
                source, rewind=True, size=size, content_type=mime_type, if_generation_match=0
            )
        return StoredObject(uri, str(blob.generation), size, digest)

    def stream(self, uri: str, *, version: str = "") -> Iterator[bytes]:
        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            with _translated(uri):
                self._blob(uri, version).download_to_file(file)
            file.seek(0)
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def read(self, uri: str, *, version: str = "", limit: int) -> bytes:
        with _translated(uri):
            try:
                # One byte more than allowed tells an object that is too large from one that fits.
                content: bytes = self._blob(uri, version).download_as_bytes(start=0, end=limit)
            except exceptions.RequestRangeNotSatisfiable:
                return b""  # an empty object has no first byte
        if len(content) > limit:
            raise ObjectTooLarge(f"{uri} has more than {limit} bytes.")
        return content

    def current(self, uri: str) -> str | None:
        bucket, name = _parts(uri)
        with _translated(uri):
            blob = self._client.bucket(bucket).get_blob(name)
        return str(blob.generation) if blob else None

    def list_below(self, prefix: str) -> Iterator[StoredObject]:
        bucket, name = _parts(prefix)
        with _translated(prefix):
            for blob in self._client.list_blobs(bucket, prefix=f"{name.rstrip('/')}/"):
                uri = f"gs://{bucket}/{blob.name}"
                yield StoredObject(uri, str(blob.generation), blob.size, "")

    def copy(self, source: str, target: str, *, version: str) -> str:
        bucket, name = _parts(target)
        with _translated(target):
            blob = self._blob(source, version)
            copied = blob.bucket.copy_blob(
                blob,
                self._client.bucket(bucket),
                name,
                source_generation=blob.generation,
                if_generation_match=0,
            )
        return str(copied.generation)

    def delete_below(self, prefix: str) -> int:
        count = 0
        for found in self.list_below(prefix):
            with _translated(found.uri):
                self._blob(found.uri, found.version).delete()
            count += 1
        return count

    def _blob(self, uri: str, version: str = "") -> storage.Blob:
        bucket, name = _parts(uri)
        if version and not version.isdecimal():
            raise ObjectNotFound(f"{uri}: {version[:80]!r} is not the version of a stored object.")
        return self._client.bucket(bucket).blob(name, generation=int(version) if version else None)


def _parts(uri: str) -> tuple[str, str]:
    """Return (bucket, object name). Raises StorageError for anything but `gs://bucket/name`."""
    parts = urlsplit(uri)
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "gs" or not parts.netloc or not name or parts.query or parts.fragment:
        raise StorageError(f"{uri[:200]!r} is not gs:// with a bucket and a name.")
    return parts.netloc, name


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except exceptions.PreconditionFailed as error:
        raise ObjectExists(f"{uri} exists already.") from error
    except exceptions.NotFound as error:
        raise ObjectNotFound(f"There is no object at {uri}.") from error
    except (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise StorageError(f"{uri}: {error}") from error
