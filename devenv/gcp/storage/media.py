"""Uploads and downloads: the requests whose bodies are bytes of objects.

After https://cloud.google.com/storage/docs/uploads-downloads.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, BinaryIO

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.blobs import CHUNK, Blobs, Digest
from devenv.gcp.storage.conditions import number, parse
from devenv.gcp.storage.exchange import Exchange, answer
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.model import Object
from devenv.gcp.storage.objects import Draft, Objects
from devenv.gcp.storage.ranges import parse_content_range, slice_of
from devenv.gcp.storage.related import Related
from devenv.gcp.storage.resources import media_headers, sums_of_headers
from devenv.gcp.storage.uploads import Progress, Uploads


class Download(Response):
    """Part of a file, read while it is sent."""

    def __init__(self, file: BinaryIO, span: tuple[int, int], headers: dict[str, str]) -> None:
        self._file = file
        self._span = span
        status = 206 if "content-range" in headers else 200
        length = {"content-length": str(span[1] - span[0])}
        super().__init__(status_code=status, headers=headers | length)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, end = self._span
        with self._file as file:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if scope["method"] == "HEAD":
                start = end
            file.seek(start)
            while end - start > CHUNK:
                await send(
                    {"type": "http.response.body", "body": file.read(CHUNK), "more_body": True}
                )
                start += CHUNK
            await send({"type": "http.response.body", "body": file.read(end - start)})


class Media:
    """The handlers that both APIs share for bytes."""

    def __init__(self, objects: Objects, uploads: Uploads, blobs: Blobs) -> None:
        self._objects = objects
        self._uploads = uploads
        self._blobs = blobs

    async def download(self, exchange: Exchange, bucket: str, name: str) -> Response:
        found = self._objects.get(exchange.access, ref_of(exchange, bucket, name))
        return self.send(exchange, found, {})

    def send(self, exchange: Exchange, found: Object, extra: dict[str, str]) -> Response:
        """Answer with the bytes of `found`, or the range of them that is asked for."""
        size = found.content.size
        span = slice_of(exchange.headers.get("range"), size)
        headers = media_headers(found) | extra
        if span:
            headers["content-range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        return Download(self._objects.open(found), span or (0, size), headers)

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

    async def store(self, exchange: Exchange, draft: Draft, body: AsyncIterator[bytes]) -> Object:
        """Stream `body` to disk and make it an object."""
        self._objects.begin(exchange.access, draft)
        blob, digest = self._blobs.new(), Digest()
        try:
            with self._blobs.append(blob) as file:
                async for data in body:
                    file.write(data)
                    digest.update(data)
        except BaseException:
            self._blobs.delete(blob)
            raise
        return self._objects.insert(exchange.access, draft, digest.content(blob))

    def location(self, exchange: Exchange, draft: Draft, total: str | None, query: str) -> str:
        """Begin a resumable upload and return the URI of its session, on the client's own host."""
        size = None if total is None else number(total, "X-Upload-Content-Length")
        session = self._uploads.begin(exchange.access, draft, size)
        return f"{exchange.shapes.base}{exchange.path}?{query}upload_id={session.id}"

    async def resume(self, exchange: Exchange) -> Response:
        progress = await self.progress(exchange)
        if progress.result:
            return answer(exchange.shapes.object(progress.result))
        return incomplete(progress)

    async def progress(self, exchange: Exchange) -> Progress:
        """Take a chunk. The session's URI is its own credential, so no token is asked for."""
        session_id = exchange.query["upload_id"]
        owner = replace(exchange.access, caller=self._uploads.owner(session_id))
        chunk = parse_content_range(exchange.headers.get("content-range"))
        return await self._uploads.receive(
            owner,
            session_id,
            chunk=chunk,
            body=exchange.request.stream(),
            sums=sums_of_headers(exchange.headers),
        )

    async def cancel(self, exchange: Exchange, *_: str) -> Response:
        """Google answers a cancelled upload with its own status, 499."""
        self._uploads.cancel(exchange.query.get("upload_id", ""))
        return Response(status_code=499)

    async def _simple(self, exchange: Exchange, bucket: str) -> Response:
        resource = {"contentType": exchange.headers.get("content-type")}
        draft = _draft(exchange, bucket, resource)
        item = await self.store(exchange, draft, exchange.request.stream())
        return answer(exchange.shapes.object(item))

    async def _multipart(self, exchange: Exchange, bucket: str) -> Response:
        content_type = exchange.headers.get("content-type", "")
        related = Related(content_type, exchange.request.stream())
        resource = await related.metadata()
        draft = _draft(exchange, bucket, {"contentType": related.content_type} | resource)
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


def incomplete(progress: Progress) -> Response:
    """Answer 308: Range names the last byte that is there, and is missing while there is none."""
    headers = {"range": f"bytes=0-{progress.persisted - 1}"} if progress.persisted else {}
    return Response(status_code=308, headers=headers)


def _draft(exchange: Exchange, bucket: str, resource: dict[str, Any]) -> Draft:
    """Build the object from its metadata part, the query and the headers, as insert does."""
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
    return Draft(
        bucket,
        name,
        object_fields(resource),
        parse(query, exchange.headers),
        **(sums | sums_of_headers(exchange.headers)),
    )
