"""Objects of Cloud Storage by Google's client in its default form; a version is a generation."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Blob, Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests import RequestException

from validators.sdk.capability import Capability
from validators.sdk.storage.base import (
    ObjectExists,
    ObjectMismatch,
    ObjectMissing,
    Sink,
    Storage,
    StorageError,
)


def open_storage(capability: Capability | None) -> Storage:
    with _translated("the storage client"):
        if capability is None:
            return GoogleStorage(Client())
        client = Client(project=capability.project, credentials=capability.credentials)
        return GoogleStorage(client, prefix=capability.prefix)


class GoogleStorage(Storage):
    def __init__(self, client: Client, *, prefix: str = "gs://") -> None:
        self._client = client
        self._prefix = prefix

    def copy_to(self, sink: Sink, *, uri: str, version: str | None) -> None:
        if version is not None and not version.isdecimal():
            raise ObjectMismatch(f"{uri}: version {version!r} is not a generation")
        blob = self._blob(uri, generation=int(version) if version else None)
        with _translated(uri):
            blob.download_to_file(sink, raw_download=True)

    def create(self, uri: str, content: Path | bytes, *, mime_type: str) -> str:
        blob = self._blob(uri)
        with _translated(uri):
            if isinstance(content, bytes):
                blob.upload_from_string(content, content_type=mime_type, if_generation_match=0)
            else:
                blob.upload_from_filename(content, content_type=mime_type, if_generation_match=0)
        return str(blob.generation)

    def _blob(self, uri: str, *, generation: int | None = None) -> Blob:
        parts = urlsplit(uri)
        name = parts.path.removeprefix("/")
        if parts.scheme != "gs" or not parts.netloc or not name:
            raise StorageError(f"{uri!r} is not gs://bucket/object")
        if not uri.startswith(self._prefix):
            raise StorageError(
                f"{uri} is outside of {self._prefix}, where this attempt's files are"
            )
        return self._client.bucket(parts.netloc).blob(name, generation=generation)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise ObjectMissing(f"{uri} does not exist, or not at that generation") from error
    except PreconditionFailed as error:
        raise ObjectExists(f"{uri} exists already") from error
    except (
        GoogleAPICallError,
        GoogleAuthError,
        InvalidResponse,
        DataCorruption,
        RequestException,
    ) as error:
        raise StorageError(f"{uri}: {error}") from error
