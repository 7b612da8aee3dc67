"""The XML API for single objects, which is what signed URLs speak.

After https://cloud.google.com/storage/docs/xml-api/reference-methods.
"""

from collections.abc import Mapping

from starlette.responses import Response

from devenv.gcp.storage.conditions import parse
from devenv.gcp.storage.errors import MethodNotAllowed
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.media import Media, incomplete
from devenv.gcp.storage.model import Object
from devenv.gcp.storage.objects import Draft, Objects
from devenv.gcp.storage.resources import (
    fields_of_headers,
    media_headers,
    metadata_headers,
    sums_of_headers,
)

_OVERRIDES = {
    "response-content-type": "content-type",
    "response-content-disposition": "content-disposition",
}


class XmlApi:
    """GET, HEAD, PUT, POST and DELETE of an object by its plain path."""

    def __init__(self, objects: Objects, media: Media) -> None:
        self._objects = objects
        self._media = media

    async def handle(self, exchange: Exchange, bucket: str, name: str) -> Response:
        method = exchange.request.method
        if "upload_id" in exchange.query:
            return await self._session(exchange, method)
        match method:
            case "GET" | "HEAD":
                return self._get(exchange, bucket, name)
            case "PUT":
                return await self._put(exchange, bucket, name)
            case "DELETE":
                self._objects.delete(exchange.access, ref_of(exchange, bucket, name))
                return Response(status_code=204)
            case "POST" if exchange.headers.get("x-goog-resumable") == "start":
                return self._begin(exchange, bucket, name)
        raise MethodNotAllowed("The specified method is not allowed against this resource.")

    def _get(self, exchange: Exchange, bucket: str, name: str) -> Response:
        found = self._objects.get(exchange.access, ref_of(exchange, bucket, name))
        extra = metadata_headers(found) | _overrides(exchange.query)
        return self._media.send(exchange, found, extra)

    async def _put(self, exchange: Exchange, bucket: str, name: str) -> Response:
        draft = _draft(exchange, bucket, name)
        if exchange.headers.get("x-goog-resumable") == "start":
            return self._begin(exchange, bucket, name)
        return _stored(await self._media.store(exchange, draft, exchange.request.stream()))

    def _begin(self, exchange: Exchange, bucket: str, name: str) -> Response:
        draft = _draft(exchange, bucket, name)
        total = exchange.headers.get("x-upload-content-length")
        location = self._media.location(exchange, draft, total, "")
        return Response(status_code=201, headers={"location": location})

    async def _session(self, exchange: Exchange, method: str) -> Response:
        if method == "DELETE":
            return await self._media.cancel(exchange)
        if method not in ("PUT", "POST"):
            raise MethodNotAllowed("The specified method is not allowed against this resource.")
        progress = await self._media.progress(exchange)
        return _stored(progress.result) if progress.result else incomplete(progress)


def _draft(exchange: Exchange, bucket: str, name: str) -> Draft:
    headers = exchange.headers
    return Draft(
        bucket,
        name,
        object_fields(fields_of_headers(headers)),
        parse(exchange.query, headers),
        **sums_of_headers(headers),
    )


def _stored(item: Object) -> Response:
    headers = media_headers(item)
    kept = {name: value for name, value in headers.items() if name.startswith("x-goog-")}
    return Response(headers=kept | {"etag": headers["etag"]})


def _overrides(query: Mapping[str, str]) -> dict[str, str]:
    return {
        header: object_fields({"contentType": query[name]})["contentType"]
        for name, header in _OVERRIDES.items()
        if query.get(name)
    }
