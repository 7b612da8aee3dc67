"""Objects of Cloud Storage, by Google's client in its default form.

The version of an object is its generation. Create-only is the precondition `ifGenerationMatch=0`:
https://cloud.google.com/storage/docs/request-preconditions
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from typing import BinaryIO
from urllib.parse import urlsplit

from google.api_core.exceptions import (
    GoogleAPICallError,
    NotFound,
    PreconditionFailed,
    RequestRangeNotSatisfiable,
    RetryError,
)
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Blob, Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException

from validators.sdk.storage import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageError,
    StorageOptions,
    StoredObject,
)

_CHUNK_BYTES = 4 * 1024 * 1024
# Of a resumable upload, of which the client holds two at once; its default is 100 MiB.
_UPLOAD_CHUNK_BYTES = 8 * 1024 * 1024


def open_storage(options: StorageOptions) -> Storage:
    """Return the implementation for `gs://`."""
    return GoogleStorage(options)


class GoogleStorage(Storage):
    """Storage for `gs://`. Streams to write must be seekable: they are read to hash and to send."""

    def __init__(self, options: StorageOptions) -> None:
        self._access = options.access
        self._prefix = options.access.prefix if options.access else "gs://"
        self._retry = DEFAULT_RETRY.with_timeout(options.retry_seconds)

    @cached_property
    def _client(self) -> Client:
        try:
            if self._access is None:
                return Client()
            return Client(project=self._access.project, credentials=self._access.credentials)
        except GoogleAuthError as error:
            raise StorageError(f"No credentials for Cloud Storage: {error}") from error

    def create(self, uri: str, content: bytes | BinaryIO, *, mime_type: str) -> StoredObject:
        source = BytesIO(content) if isinstance(content, bytes) else content
        size, sha256 = _measure(source)
        blob = self._blob(uri)
        blob.chunk_size = _UPLOAD_CHUNK_BYTES
        with _translated(uri):
            # Up to 8 MiB this is one request, beyond it a resumable upload.
            blob.upload_from_file(
                source, size=size, content_type=mime_type, if_generation_match=0, retry=self._retry
            )
        return StoredObject(uri, str(blob.generation), size, sha256)

    def create_streamed(self, uri: str, chunks: Iterable[bytes], *, mime_type: str) -> StoredObject:
        blob = self._blob(uri)
        blob.chunk_size = _UPLOAD_CHUNK_BYTES
        digest = hashlib.sha256()
        size = 0
        with _translated(uri):
            file = blob.open("wb", content_type=mime_type, if_generation_match=0, retry=self._retry)
            try:
                for chunk in chunks:
                    digest.update(chunk)
                    size += file.write(chunk)
                file.close()
            except BaseException:
                # Else the garbage collector would complete the upload.
                file.terminate()
                raise
            blob.reload(retry=self._retry)  # for its generation
        return StoredObject(uri, str(blob.generation), size, digest.hexdigest())

    def stream(self, uri: str, *, version: str = "") -> Iterator[bytes]:
        pinned = version or self.current(uri)
        if pinned is None:
            raise ObjectNotFound(f"There is no object at {uri}.")
        start = 0
        while chunk := self._range(uri, pinned, start, start + _CHUNK_BYTES):
            yield chunk
            if len(chunk) < _CHUNK_BYTES:
                return
            start += len(chunk)

    def read(self, uri: str, *, version: str = "", limit: int) -> bytes:
        content = self._range(uri, version, 0, limit + 1)
        if len(content) > limit:
            raise ObjectTooLarge(f"{uri} has more than {limit} bytes.")
        return content

    def download(self, uri: str, target: BinaryIO, *, version: str) -> None:
        blob = self._blob(uri, version)
        with _translated(uri):
            blob.download_to_file(target, raw_download=True, retry=self._retry)

    def current(self, uri: str) -> str | None:
        blob = self._blob(uri)
        try:
            with _translated(uri):
                blob.reload(retry=self._retry)
        except ObjectNotFound:
            return None
        return str(blob.generation)

    def list_below(self, prefix: str) -> Iterator[StoredObject]:
        bucket, name = _split_folder(prefix)
        with _translated(prefix):
            for blob in self._client.list_blobs(bucket, prefix=name, retry=self._retry):
                uri = f"gs://{bucket}/{blob.name}"
                yield StoredObject(uri, str(blob.generation), int(blob.size), "")

    def list_written_before(self, prefix: str, moment: dt.datetime) -> Iterator[str]:
        bucket, name = _split_folder(prefix)
        with _translated(prefix):
            for blob in self._client.list_blobs(bucket, prefix=name, retry=self._retry):
                if blob.updated < moment:
                    yield f"gs://{bucket}/{blob.name}"

    def copy(self, source: str, target: str, *, version: str) -> str:
        origin, copied = self._blob(source, version), self._blob(target)
        token: str | None = None
        with _translated(target):
            while True:
                token, _, _ = copied.rewrite(
                    origin, token=token, if_generation_match=0, retry=self._retry
                )
                if token is None:
                    return str(copied.generation)

    def delete(self, uri: str) -> bool:
        try:
            with _translated(uri):
                self._blob(uri).delete(retry=self._retry)
        except ObjectNotFound:
            return False
        return True

    def delete_below(self, prefix: str) -> int:
        count = 0
        for stored in list(self.list_below(prefix)):
            with _translated(stored.uri):
                self._blob(stored.uri, stored.version).delete(retry=self._retry)
            count += 1
        return count

    def _range(self, uri: str, version: str, start: int, end: int) -> bytes:
        """Read the bytes [start, end) of an object, or as many of them as there are."""
        blob = self._blob(uri, version)
        with _translated(uri):
            try:
                content: bytes = blob.download_as_bytes(
                    start=start, end=end - 1, raw_download=True, checksum=None, retry=self._retry
                )
            except RequestRangeNotSatisfiable:
                return b""
        return content

    def _blob(self, uri: str, version: str = "") -> Blob:
        bucket, name = _split(uri)
        if not uri.startswith(self._prefix):
            raise StorageError(f"{uri} is outside of {self._prefix}, the files of this attempt.")
        if version and not version.isdecimal():
            raise ObjectNotFound(f"{uri} does not exist in version {version!r}.")
        # bucket() sends no request.
        return self._client.bucket(bucket).blob(name, generation=int(version) if version else None)


def _split_folder(prefix: str) -> tuple[str, str]:
    """Return bucket and prefix of a folder; that of a whole bucket is empty."""
    folder = f"{prefix.rstrip('/')}/"
    parts = urlsplit(folder)
    if parts.scheme == "gs" and parts.netloc and parts.path == "/":
        return parts.netloc, ""
    return _split(folder)


def _split(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    name = uri.removeprefix(f"gs://{parts.netloc}/")
    if parts.scheme != "gs" or not parts.netloc or not name or name == uri:
        raise StorageError(f"{uri[:200]!r} is not gs://bucket/object.")
    return parts.netloc, name


def _measure(content: BinaryIO) -> tuple[int, str]:
    start = content.tell()
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK_BYTES):
        digest.update(chunk)
    size = content.tell() - start
    content.seek(start)
    return size, digest.hexdigest()


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise ObjectNotFound(f"There is no object at {uri}, or not in this version.") from error
    except PreconditionFailed as error:
        raise ObjectExists(f"{uri} exists already.") from error
    except InvalidResponse as error:  # what a streamed upload raises for every status
        if error.response.status_code == HTTPStatus.PRECONDITION_FAILED:
            raise ObjectExists(f"{uri} exists already.") from error
        raise StorageError(f"{uri}: {error}") from error
    except (
        GoogleAPICallError,
        RetryError,
        GoogleAuthError,
        DataCorruption,
        RequestException,
    ) as error:
        raise StorageError(f"{uri}: {error}") from error
