"""Uploads and downloads: the handlers of both APIs whose bodies are bytes of objects.

Downloads honour one byte range. An object that is stored with `Content-Encoding: gzip` goes as it is
to clients that accept gzip, and is decompressed for the others unless its Cache-Control says
`no-transform` ("decompressive transcoding"): then the length is not known beforehand, ranges are
ignored, and a Warning header says what happened.

See https://cloud.google.com/storage/docs/uploads-downloads and
https://cloud.google.com/storage/docs/transcoding.
"""

import re
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.blobs import CHUNK, Blobs
from devenv.gcp.storage.drafts import ObjectDraft
from devenv.gcp.storage.errors import RangeNotSatisfiable, UploadProblem
from devenv.gcp.storage.exchange import Exchange, ReadyResponse, answer, length_pair
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.multipart import RelatedBody
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import number, parse
from devenv.gcp.storage.resources import (
    HeaderPair,
    header_pairs,
    media_headers,
    media_pairs,
    sums_of_headers,
)
from devenv.gcp.storage.uploads import UploadProgress, Uploads, parse_content_range

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_FIRST_PIECE = 32 * 1024  # of a file that is sent: the client may begin
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16


class Download(Response):
    """The bytes of a file, read while they are sent."""

    def __init__(
        self,
        file: BinaryIO,
        span: tuple[int, int],
        headers: Iterable[HeaderPair],
        status: int = 200,
    ) -> None:
        self._file = file
        self._span = span
        self.status_code, self.background, self.body = status, None, b""
        self.raw_headers = list(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body"})
            else:
                await self._send_body(send)

    async def _send_body(self, send: Send) -> None:
        start, end = self._span
        if start == end:
            await send({"type": "http.response.body"})
        for data in self._pieces():
            start += len(data)
            await send({"type": "http.response.body", "body": data, "more_body": start < end})

    def _pieces(self) -> Iterator[bytes]:
        start, end = self._span
        self._file.seek(start)
        size = _FIRST_PIECE
        while start < end and (data := self._file.read(min(size, end - start))):
            start, size = start + len(data), CHUNK
            yield data


class GunzippedDownload(Download):
    """A gzip file, decompressed while it is sent."""

    async def _send_body(self, send: Send) -> None:
        for data in self._unpacked():
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body"})

    def _unpacked(self) -> Iterator[bytes]:
        unpack = zlib.decompressobj(_GZIP_WINDOW)
        for piece in self._pieces():
            data = piece
            while data and not (unpack.eof and not data.startswith(_GZIP_MAGIC)):
                if unpack.eof:  # a gzip file may have several members
                    unpack = zlib.decompressobj(_GZIP_WINDOW)
                yield unpack.decompress(data, CHUNK)
                data = unpack.unconsumed_tail or unpack.unused_data
        yield unpack.flush()


class Media:
    """The handlers for bytes that both APIs share."""

    def __init__(self, objects: Objects, uploads: Uploads, blobs: Blobs) -> None:
        self._objects = objects
        self._uploads = uploads
        self._blobs = blobs

    async def download(self, exchange: Exchange, bucket: str, name: str) -> Response:
        found = self._objects.get(exchange.access, ref_of(exchange, bucket, name))
        return self.send(exchange, found, {})

    def send(self, exchange: Exchange, found: ObjectRecord, extra: Mapping[str, str]) -> Response:
        """Answer with the bytes of `found`, or with the range of them that the request names."""
        size, pairs = found.content.size, media_pairs(found)
        if extra:
            pairs = header_pairs({**media_headers(found), **extra})
        if found.fields.get("contentEncoding") == "gzip":
            headers = {**media_headers(found), **extra, "vary": "Accept-Encoding"}
            if not _accepts_gzip(exchange) and "no-transform" not in headers.get(
                "cache-control", ""
            ):
                file = self._objects.open(found)
                if file.read(2) == _GZIP_MAGIC:
                    return GunzippedDownload(file, (0, size), header_pairs(_transcoded(headers)))
                file.close()
            pairs = header_pairs(headers)
        start, end, status = 0, size, 200
        if span := slice_of(exchange.headers.get("range"), size):
            start, end = span
            pairs = (*pairs, (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
            status = 206
        pairs = (*pairs, length_pair(end - start))
        if (data := self._blobs.row(found.content.blob)) is not None:
            return ReadyResponse(data[start:end], pairs, status)
        return Download(self._objects.open(found), (start, end), pairs, status)

    async def upload(self, exchange: Exchange, bucket: str) -> Response:
        if "upload_id" in exchange.query:
            return await self.resume(exchange)
        match exchange.query.get("uploadType"):
            case "media":
                return await self._simple(exchange, bucket)
            case "multipart":
                return await self._multipart(exchange, bucket)
            case "resumable":
                return await self._begin(exchange, bucket)
        raise InvalidArgument("Unknown uploadType; it must be media, multipart or resumable.")

    async def store(
        self, exchange: Exchange, draft: ObjectDraft, body: AsyncIterator[bytes]
    ) -> ObjectRecord:
        """Stream `body` to disk and make it an object."""
        begin = partial(self._objects.begin, exchange.access, draft)
        received = await self._blobs.receive(body, begin)
        return self._objects.insert(exchange.access, draft, received)

    def location(
        self, exchange: Exchange, draft: ObjectDraft, total: str | None, query: str
    ) -> str:
        """Begin a resumable upload and return its session's URI on the host of the request."""
        size = None if total is None else number(total, "X-Upload-Content-Length")
        session = self._uploads.begin(exchange.access, draft, size)
        return f"{exchange.shapes.base}{exchange.path}?{query}upload_id={session.id}"

    async def resume(self, exchange: Exchange) -> Response:
        progress = await self.progress(exchange)
        if progress.result:
            return answer(exchange.shapes.object(progress.result))
        return incomplete(exchange, progress)

    async def progress(self, exchange: Exchange) -> UploadProgress:
        """Store a chunk; the session's URI is its own credential, so the token does not count."""
        session_id = exchange.query["upload_id"]
        owner = replace(exchange.access, caller=self._uploads.owner(session_id))
        chunk = parse_content_range(exchange.headers.get("content-range"))
        return await self._uploads.receive(
            owner,
            session_id,
            chunk=chunk,
            body=exchange.stream(),
            sums=sums_of_headers(exchange.headers),
        )

    async def cancel(self, exchange: Exchange, *_: str) -> Response:
        """Cancel an upload, which Google confirms with a status of its own."""
        self._uploads.cancel(exchange.query.get("upload_id", ""))
        return Response(status_code=499)

    async def _simple(self, exchange: Exchange, bucket: str) -> Response:
        resource = {"contentType": exchange.headers.get("content-type")}
        draft = _draft(exchange, bucket, resource)
        item = await self.store(exchange, draft, exchange.stream())
        return answer(exchange.shapes.object(item))

    async def _multipart(self, exchange: Exchange, bucket: str) -> Response:
        content_type = exchange.headers.get("content-type", "")
        related = RelatedBody(content_type, exchange.stream())
        resource = await related.metadata()
        draft = _draft(exchange, bucket, {"contentType": related.content_type} | resource)
        data = await related.whole_media()
        if data is not None and self._blobs.is_row(data):
            item = self._objects.insert(exchange.access, draft, self._blobs.take(data))
        else:
            item = await self.store(exchange, draft, related.media())
        return answer(exchange.shapes.object(item))

    async def _begin(self, exchange: Exchange, bucket: str) -> Response:
        headers = exchange.headers
        resource = await exchange.json()
        draft = _draft(
            exchange, bucket, {"contentType": headers.get("x-upload-content-type")} | resource
        )
        total = headers.get("x-upload-content-length")
        location = self.location(exchange, draft, total, "uploadType=resumable&")
        return Response(headers={"location": location})


async def limited(body: AsyncIterator[bytes], least: int, most: int) -> AsyncIterator[bytes]:
    """Yield `body`, which must have `least` to `most` bytes. Raises UploadProblem."""
    size = 0
    async for data in body:
        size += len(data)
        if size > most:
            raise UploadProblem("EntityTooLarge", f"The object is larger than {most} bytes.")
        yield data
    if size < least:
        raise UploadProblem("EntityTooSmall", f"The object is smaller than {least} bytes.")


def slice_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the end of a Range header's range; None means everything.

    A header that is malformed or names several ranges is ignored, as Google does.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, end


def incomplete(exchange: Exchange, progress: UploadProgress) -> Response:
    """Answer 308: Range names the last byte that is there, and is absent while there is none.

    Go's client asks with a header for 200 instead, because its HTTP library would follow a 308.
    """
    headers = {"range": f"bytes=0-{progress.persisted - 1}"} if progress.persisted else {}
    if exchange.headers.get("x-guploader-no-308", "").lower() == "yes":
        return Response(headers=headers | {"x-http-status-code-override": "308"})
    return Response(status_code=308, headers=headers)


def _accepts_gzip(exchange: Exchange) -> bool:
    offers = exchange.headers.get("accept-encoding", "").lower().split(",")
    return any(
        name.strip() == "gzip" and not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
        for name, _, weight in (offer.partition(";") for offer in offers)
    )


def _transcoded(headers: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in headers.items()
        if name not in ("accept-ranges", "content-encoding")
    }
    return kept | {"warning": "214 UploadServer gunzipped"}


def _draft(exchange: Exchange, bucket: str, resource: dict[str, Any]) -> ObjectDraft:
    """Return the object of an insert: from its metadata part, the query and the headers."""
    query = exchange.query
    name = query.get("name") or resource.get("name")
    if not isinstance(name, str):
        raise InvalidArgument("Required: name")
    if "contentEncoding" in query:
        resource = resource | {"contentEncoding": query["contentEncoding"]}
    if not resource.get("contentType"):
        resource = resource | {"contentType": "application/octet-stream"}
    given = {"crc32c": resource.get("crc32c"), "md5": resource.get("md5Hash")}
    sums = {key: str(value) for key, value in given.items() if value}
    return ObjectDraft(
        bucket,
        name,
        object_fields(resource),
        parse(query, exchange.headers),
        entries=resource.get("acl"),
        predefined=query.get("predefinedAcl", ""),
        **(sums | sums_of_headers(exchange.headers)),
    )
