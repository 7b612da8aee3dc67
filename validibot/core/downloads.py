"""Hand a stored object to a browser or program as a file to save."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from urllib.parse import quote

from django.http import Http404, HttpResponse, StreamingHttpResponse

from validibot.core.asgi import in_thread
from validibot.core.storage import ObjectNotFound, get_storage


def attachment(uri: str, *, version: str, name: str, size: int) -> StreamingHttpResponse:
    """Stream the object as an attachment called `name`. Raises Http404 when it is gone."""
    return streamed(get_storage(uri).stream(uri, version=version), name=name, size=size)


def streamed(
    chunks: Iterator[bytes], *, name: str, size: int | None = None
) -> StreamingHttpResponse:
    """Stream `chunks` as an attachment called `name`. Raises Http404 when the first one is gone.

    The type is always octets and never sniffed: what a validator wrote must not run in our pages.
    """
    try:
        first = next(chunks, b"")
    except ObjectNotFound as error:
        raise Http404 from error
    response = StreamingHttpResponse(_chain(first, chunks), headers=_headers(name))
    if size is not None:
        response["Content-Length"] = str(size)
    return response


def whole(content: bytes, *, name: str) -> HttpResponse:
    """Answer with `content` as an attachment called `name`."""
    return HttpResponse(content, headers=_headers(name))


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "X-Content-Type-Options": "nosniff",
    }


async def _chain(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read in a thread, chunk by chunk: given a plain iterator, ASGI would load it all first.

    A thread gives its connection to the database back after each chunk.
    """
    yield first
    read = in_thread(partial(next, rest, None))
    # An empty chunk is no end: a zip has one where a file in it is empty.
    while (chunk := await read()) is not None:
        yield chunk
