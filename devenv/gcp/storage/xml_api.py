"""The XML API for single objects, which signed URLs and parallel uploads use.

GET, HEAD, PUT and DELETE act on the object that the path names, POST begins resumable and multipart
uploads. Settings of an object arrive as headers. Everything else that the XML API has (lists,
buckets, access control lists, copies by header, forms) is refused by name: a subresource such as
`?acl` must not be answered with the object.

Clients send the parts of a large object in parallel: `POST ?uploads` begins an upload,
`PUT ?partNumber=N&uploadId=ID` stores a part, `POST ?uploadId=ID` joins the parts that its body
lists, `DELETE ?uploadId=ID` aborts. Parts may arrive in any order and again; the last one of a
number counts. Each part is a file and a row, so an upload survives a restart; one that nobody
completes is deleted after a week. The object gets the settings of the request that began the
upload, and like all composed objects has no MD5.

See https://cloud.google.com/storage/docs/xml-api/reference-methods and
https://cloud.google.com/storage/docs/multipart-uploads.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from starlette.responses import Response

from devenv.gcp.clock import Clock
from devenv.gcp.storage.catalogue import MULTIPART_PREFIX, Blobs, Catalogue, Digest, UploadPart
from devenv.gcp.storage.errors import MethodNotAllowed, NoSuchUpload, NotEmulated, UploadProblem
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.media import Media, incomplete
from devenv.gcp.storage.model import ObjectContent, ObjectRecord
from devenv.gcp.storage.objects import ObjectDraft, Objects, check_sums
from devenv.gcp.storage.parameters import Preconditions, number, parse
from devenv.gcp.storage.resources import (
    fields_of_headers,
    media_headers,
    metadata_headers,
    sums_of_headers,
    timestamp,
)

XML_TYPE = "text/xml; charset=UTF-8"  # Node's client reads documents of type text/* only
_MIN_PART = 5 * 1024 * 1024  # all but the last
_MAX_PARTS = 10_000
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_TAG = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class _Upload:
    id: str
    draft: ObjectDraft


class XmlMultipart:
    """The requests of multipart uploads."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, objects: Objects, clock: Clock) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._objects = objects
        self._clock = clock

    def begin(self, exchange: Exchange, draft: ObjectDraft) -> Response:
        """Open an upload for an object like `draft`."""
        self._require(exchange, "create", draft.bucket, draft.name)
        self._objects.begin(exchange.access, draft)
        upload_id = f"{MULTIPART_PREFIX}{secrets.token_urlsafe(48)}"
        values = {"bucket": draft.bucket, "name": draft.name, "fields": dict(draft.fields)}
        self._catalogue.save_session(upload_id, self._clock.now(), json.dumps(values))
        return _document(
            "InitiateMultipartUploadResult",
            f"<Bucket>{escape(draft.bucket)}</Bucket><Key>{escape(draft.name)}</Key>"
            f"<UploadId>{upload_id}</UploadId>",
        )

    async def put_part(self, exchange: Exchange, bucket: str, name: str) -> Response:
        """Store one part."""
        upload = self._find(exchange, bucket, name)
        self._require(exchange, "create", bucket, name)
        part_number = number(exchange.query.get("partNumber", ""), "partNumber")
        if not 1 <= part_number <= _MAX_PARTS:
            raise UploadProblem("InvalidArgument", f"partNumber must be 1 to {_MAX_PARTS}.")
        blob, digest = self._blobs.new(), Digest()
        try:
            with self._blobs.append(blob) as file:
                async for data in exchange.request.stream():
                    file.write(data)
                    digest.update(data)
            content = digest.content(blob)
            sums = sums_of_headers(exchange.headers)
            draft = ObjectDraft(
                bucket, name, crc32c=sums.get("crc32c", ""), md5=sums.get("md5", "")
            )
            check_sums(draft, content)
            self._find(exchange, bucket, name)  # it may have been aborted meanwhile
        except BaseException:
            self._blobs.delete(blob)
            raise
        part = UploadPart(upload.id, part_number, content, self._clock.now())
        if before := self._catalogue.save_part(part):
            self._blobs.delete(before.content.blob)
        return Response(headers=_part_headers(part))

    async def complete(self, exchange: Exchange, bucket: str, name: str) -> ObjectRecord:
        """Join the parts that the body lists and make the result the live object."""
        upload = self._find(exchange, bucket, name)
        self._require(exchange, "create", bucket, name)
        parts = self._chosen(upload.id, await exchange.body())
        # A part may be replaced while a thread reads it: hold the files by names of our own.
        held = [self._blobs.duplicate(part.content.blob) for part in parts]
        try:
            content = await asyncio.to_thread(self._blobs.join, held)
        finally:
            for blob in held:
                self._blobs.delete(blob)
        stored = self._place(exchange, upload, content)
        self._forget(upload.id)
        return stored

    def abort(self, exchange: Exchange, bucket: str, name: str) -> Response:
        """Delete an upload and its parts."""
        upload = self._find(exchange, bucket, name)
        self._require(exchange, "abort", bucket, name)
        self._catalogue.drop_session(upload.id)
        self._forget(upload.id)
        return Response(status_code=204)

    def list_parts(self, exchange: Exchange, bucket: str, name: str) -> Response:
        """Answer with the parts that are there."""
        upload = self._find(exchange, bucket, name)
        self._require(exchange, "listParts", bucket, name)
        items = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber>"
            f"<LastModified>{timestamp(part.created)}</LastModified>"
            f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.content.size}</Size></Part>"
            for part in self._catalogue.parts(upload.id)
        )
        return _document(
            "ListPartsResult",
            f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(name)}</Key>"
            f"<UploadId>{upload.id}</UploadId><IsTruncated>false</IsTruncated>{items}",
        )

    def _place(self, exchange: Exchange, upload: _Upload, content: ObjectContent) -> ObjectRecord:
        with self._objects.change(content) as displaced:
            stored = self._objects.place(exchange.access, upload.draft, content, displaced)
            self._catalogue.drop_session(upload.id)
        return stored

    def _chosen(self, upload_id: str, body: bytes) -> list[UploadPart]:
        """Return the parts that a completion names. Raises UploadProblem."""
        there = {part.number: part for part in self._catalogue.parts(upload_id)}
        chosen: list[UploadPart] = []
        for part_number, etag in _parts_of(body):
            part = there.get(part_number)
            if part is None or etag.strip().strip('"') != part.etag:
                raise UploadProblem(
                    "InvalidPart", f"Part {part_number} was not uploaded, or has another ETag."
                )
            if chosen and part_number <= chosen[-1].number:
                raise UploadProblem("InvalidPartOrder", "Parts must be in ascending order.")
            chosen.append(part)
        _check_sizes(chosen)
        return chosen

    def _find(self, exchange: Exchange, bucket: str, name: str) -> _Upload:
        upload_id = exchange.query.get("uploadId", "")
        found = self._catalogue.session(upload_id)
        if found is None or not upload_id.startswith(MULTIPART_PREFIX):
            raise NoSuchUpload
        values = json.loads(found[0])
        if (values["bucket"], values["name"]) != (bucket, name):
            raise NoSuchUpload
        return _Upload(upload_id, ObjectDraft(**values, conditions=Preconditions()))

    def _require(self, exchange: Exchange, verb: str, bucket: str, name: str) -> None:
        exchange.access.require(f"storage.multipartUploads.{verb}", bucket, name)

    def _forget(self, upload_id: str) -> None:
        for part in self._catalogue.drop_parts(upload_id):
            self._blobs.delete(part.content.blob)


def _parts_of(body: bytes) -> list[tuple[int, str]]:
    """Return the numbers and ETags in the body of a completion. Raises UploadProblem."""
    malformed = UploadProblem("MalformedXML", "The XML of the request is not valid.")
    try:
        root = ET.fromstring(body)  # noqa: S314 - bounded, and expat refuses to expand bombs
    except (ET.ParseError, LookupError, ValueError) as error:
        raise malformed from error
    named = [
        {_TAG.sub("", child.tag): child.text or "" for child in part}
        for part in root
        if _TAG.sub("", part.tag) == "Part"
    ]
    if not named or not all({"PartNumber", "ETag"} <= part.keys() for part in named):
        raise malformed
    return [(number(part["PartNumber"].strip(), "PartNumber"), part["ETag"]) for part in named]


def _check_sizes(parts: Sequence[UploadPart]) -> None:
    for part in parts[:-1]:
        if part.content.size < _MIN_PART:
            raise UploadProblem(
                "EntityTooSmall",
                f"Part {part.number} has {part.content.size} bytes; every part but the last must "
                f"have at least {_MIN_PART}.",
            )


def _part_headers(part: UploadPart) -> dict[str, str]:
    return {
        "etag": f'"{part.etag}"',
        "x-goog-hash": f"crc32c={part.content.crc32c},md5={part.content.md5}",
        "x-goog-stored-content-length": str(part.content.size),
    }


def _document(kind: str, inner: str) -> Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{kind} xmlns='{_NAMESPACE}'>{inner}</{kind}>"
    return Response(text, media_type=XML_TYPE)


_OVERRIDES = {
    "response-content-type": "content-type",
    "response-content-disposition": "content-disposition",
}


_SUBRESOURCES = (
    *("acl", "billing", "compose", "cors", "defaultObjectAcl", "encryptionConfig", "lifecycle"),
    *("location", "logging", "object-lock", "retention", "storageClass", "tagging", "torrent"),
    *("versioning", "versions", "website"),
)
_REFUSED_HEADERS = (
    *("x-goog-acl", "x-goog-copy-source", "x-goog-encryption-kms-key-name"),
    *("x-goog-object-lock-mode", "x-goog-object-lock-retain-until-date"),
)
_UNBOUNDED = 2**63 - 1
_NOT_ALLOWED = "The specified method is not allowed against this resource."


class XmlApi:
    """The handler of plain paths, `/bucket/object`."""

    def __init__(self, objects: Objects, media: Media, multipart: XmlMultipart) -> None:
        self._objects = objects
        self._media = media
        self._multipart = multipart

    async def handle(self, exchange: Exchange, bucket: str, name: str) -> Response:
        _check_supported(exchange)
        method = exchange.request.method
        if "uploadId" in exchange.query or "uploads" in exchange.query:
            return await self._multipart_upload(exchange, method, bucket, name)
        if "upload_id" in exchange.query:
            return await self._session(exchange, method)
        if method in ("GET", "HEAD"):
            return self._get(exchange, bucket, name)
        return await self._change(exchange, method, bucket, name)

    async def _change(self, exchange: Exchange, method: str, bucket: str, name: str) -> Response:
        match method:
            case "PUT":
                return await self._put(exchange, bucket, name)
            case "DELETE":
                self._objects.delete(exchange.access, ref_of(exchange, bucket, name))
                return Response(status_code=204)
            case "POST" if exchange.headers.get("x-goog-resumable") == "start":
                return self._begin(exchange, bucket, name)
        raise MethodNotAllowed(_NOT_ALLOWED)

    def _get(self, exchange: Exchange, bucket: str, name: str) -> Response:
        found = self._objects.get(exchange.access, ref_of(exchange, bucket, name))
        extra = metadata_headers(found) | _overrides(exchange.query)
        return self._media.send(exchange, found, extra)

    async def _put(self, exchange: Exchange, bucket: str, name: str) -> Response:
        draft = _draft(exchange, bucket, name)
        if exchange.headers.get("x-goog-resumable") == "start":
            return self._begin(exchange, bucket, name)
        body = _limited(exchange)
        return _stored(await self._media.store(exchange, draft, body))

    def _begin(self, exchange: Exchange, bucket: str, name: str) -> Response:
        draft = _draft(exchange, bucket, name)
        total = exchange.headers.get("x-upload-content-length")
        location = self._media.location(exchange, draft, total, "")
        return Response(status_code=201, headers={"location": location})

    async def _multipart_upload(
        self, exchange: Exchange, method: str, bucket: str, name: str
    ) -> Response:
        uploads = self._multipart
        match method, "uploadId" in exchange.query:
            case "POST", False:
                return uploads.begin(exchange, _draft(exchange, bucket, name))
            case "PUT", True:
                return await uploads.put_part(exchange, bucket, name)
            case "POST", True:
                stored = await uploads.complete(exchange, bucket, name)
                return _completed(exchange, stored)
            case "DELETE", True:
                return uploads.abort(exchange, bucket, name)
            case "GET", True:
                return uploads.list_parts(exchange, bucket, name)
        raise MethodNotAllowed(_NOT_ALLOWED)

    async def _session(self, exchange: Exchange, method: str) -> Response:
        if method == "DELETE":
            return await self._media.cancel(exchange)
        if method not in ("PUT", "POST"):
            raise MethodNotAllowed(_NOT_ALLOWED)
        progress = await self._media.progress(exchange)
        return _stored(progress.result) if progress.result else incomplete(exchange, progress)


def _draft(exchange: Exchange, bucket: str, name: str) -> ObjectDraft:
    headers = exchange.headers
    return ObjectDraft(
        bucket,
        name,
        object_fields(fields_of_headers(headers)),
        parse(exchange.query, headers),
        **sums_of_headers(headers),
    )


def _stored(item: ObjectRecord) -> Response:
    headers = media_headers(item)
    kept = {name: value for name, value in headers.items() if name.startswith("x-goog-")}
    return Response(headers=kept | {"etag": headers["etag"]})


def _overrides(query: Mapping[str, str]) -> dict[str, str]:
    return {
        header: object_fields({"contentType": query[name]})["contentType"]
        for name, header in _OVERRIDES.items()
        if query.get(name)
    }


def _completed(exchange: Exchange, item: ObjectRecord) -> Response:
    place = f"{exchange.shapes.base}/{item.bucket}/{quote(item.name)}"
    text = (
        "<?xml version='1.0' encoding='UTF-8'?><CompleteMultipartUploadResult>"
        f"<Location>{escape(place)}</Location><Bucket>{escape(item.bucket)}</Bucket>"
        f"<Key>{escape(item.name)}</Key><ETag>&quot;{item.etag}&quot;</ETag>"
        "</CompleteMultipartUploadResult>"
    )
    headers = dict(_stored(item).headers) | {"content-length": str(len(text.encode()))}
    return Response(text, headers=headers, media_type=XML_TYPE)


def _check_supported(exchange: Exchange) -> None:
    """Refuse subresources and headers whose effect is not emulated. Raises NotEmulated."""
    for name in _SUBRESOURCES:
        if name in exchange.query:
            raise NotEmulated(f"The subresource '{name}' of the XML API")
    for name in _REFUSED_HEADERS:
        if name in exchange.headers:
            raise NotEmulated(f"The header '{name}'")


async def _limited(exchange: Exchange) -> AsyncIterator[bytes]:
    """Yield the body; its length must be in the range that a signed URL may demand."""
    limits = exchange.headers.get("x-goog-content-length-range", f"0,{_UNBOUNDED}")
    low, _, high = limits.partition(",")
    least, most = (number(text.strip(), "x-goog-content-length-range") for text in (low, high))
    size = 0
    async for data in exchange.request.stream():
        size += len(data)
        if size > most:
            raise UploadProblem("EntityTooLarge", f"The object is larger than {most} bytes.")
        yield data
    if size < least:
        raise UploadProblem("EntityTooSmall", f"The object is smaller than {least} bytes.")
