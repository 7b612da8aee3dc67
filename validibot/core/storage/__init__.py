"""The product's files: `validators.sdk.storage`, wired by Django's settings.

`DATA_ROOT` is where all files are. At `file://` containers of validators write below it too, so no
symbolic link below it is followed. Requests wait for Cloud Storage for half a minute at the most.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import Http404, StreamingHttpResponse

from validators.sdk.storage import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageError,
    StorageOptions,
    StoredObject,
    open_storage,
)

__all__ = [
    "ObjectExists",
    "ObjectNotFound",
    "ObjectTooLarge",
    "Storage",
    "StorageError",
    "StoredObject",
    "attachment",
    "get_storage",
]

_RETRY_SECONDS = 30.0


def get_storage(uri: str) -> Storage:
    """Return the storage that holds `uri`. Raises StorageError for an unknown scheme."""
    root = urlsplit(settings.DATA_ROOT)
    untrusted = Path(unquote(root.path)) if root.scheme == "file" else None
    return open_storage(uri, StorageOptions(retry_seconds=_RETRY_SECONDS, untrusted=untrusted))


def attachment(uri: str, *, version: str, name: str, size: int) -> StreamingHttpResponse:
    """Stream the object as an attachment called `name`. Raises Http404 when it is gone.

    The type is always octets and never sniffed: what a validator wrote must not run in our pages.
    """
    chunks = get_storage(uri).stream(uri, version=version)
    try:
        first = next(chunks, b"")
    except ObjectNotFound as error:
        raise Http404 from error
    response = StreamingHttpResponse(_chain(first, chunks), content_type="application/octet-stream")
    response["Content-Length"] = str(size)
    response["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}"
    response["X-Content-Type-Options"] = "nosniff"
    return response


async def _chain(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read in a thread, chunk by chunk: given a plain iterator, ASGI would load it all first."""
    yield first
    read = sync_to_async(partial(next, rest, b""), thread_sensitive=False)
    while chunk := await read():
        yield chunk
