"""Multipart uploads of the XML API: clients send the parts of a large object in parallel.

`POST ?uploads` begins an upload, `PUT ?partNumber=N&uploadId=ID` stores a part, `POST ?uploadId=ID`
joins the parts that its body lists, `DELETE ?uploadId=ID` aborts; `GET ?uploads` of a bucket lists the
unfinished ones. Parts may arrive in any order and
again; the last one of a number counts. Each part is a file and a row, so an upload survives a
restart; one that nobody completes is deleted after a week. The object gets the settings of the
request that began the upload, and like all composed objects has no MD5.

See https://cloud.google.com/storage/docs/multipart-uploads.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.responses import Response

from devenv.gcp.clock import Clock
from devenv.gcp.storage.blobs import Blobs, Digest, ReceivedBytes
from devenv.gcp.storage.catalogue import MULTIPART_PREFIX, Catalogue, UploadPart
from devenv.gcp.storage.drafts import ObjectDraft, check_sums
from devenv.gcp.storage.errors import (
    NoSuchBucket,
    NoSuchUpload,
    NotEmulated,
    UploadProblem,
    xml_text,
)
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.model import ObjectContent, ObjectRecord
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import Preconditions, number
from devenv.gcp.storage.resources import sums_of_headers, timestamp
from devenv.gcp.storage.uploads import LIFETIME
from devenv.gcp.storage.xml_documents import XML_TYPE, parse_xml, tag_of

_MIN_PART = 5 * 1024 * 1024  # all but the last
_MAX_PARTS = 10_000
_MOST_UPLOADS = 1000  # in one page
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


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
        values = {
            "bucket": draft.bucket,
            "name": draft.name,
            "fields": dict(draft.fields),
            "predefined": draft.predefined,
        }
        self._catalogue.save_session(upload_id, self._clock.now(), json.dumps(values))
        return _document(
            "InitiateMultipartUploadResult",
            f"<Bucket>{xml_text(draft.bucket)}</Bucket><Key>{xml_text(draft.name)}</Key>"
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
                async for data in exchange.stream():
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
            files = map(self._blobs.open, held)
            content = await asyncio.to_thread(self._blobs.join, files)
        finally:
            self._blobs.delete(*held)
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
            f"<Bucket>{xml_text(bucket)}</Bucket><Key>{xml_text(name)}</Key>"
            f"<UploadId>{upload.id}</UploadId><IsTruncated>false</IsTruncated>{items}",
        )

    def list_uploads(self, exchange: Exchange, bucket: str) -> Response:
        """Answer with a page of the unfinished uploads of a bucket, by name and age."""
        self._require(exchange, "list", bucket)
        if self._catalogue.bucket(bucket) is None:
            raise NoSuchBucket
        query = exchange.query
        if query.get("delimiter"):
            raise NotEmulated("The parameter 'delimiter' of a list of uploads")
        most = min(number(query.get("max-uploads", _MOST_UPLOADS), "max-uploads"), _MOST_UPLOADS)
        prefix, after = query.get("prefix", ""), query.get("key-marker", "")
        mark = query.get("upload-id-marker", "")
        found = sorted(
            (values["name"], created, upload_id)
            for upload_id, created, text in self._catalogue.multipart_uploads()
            if (values := json.loads(text))["bucket"] == bucket
            and values["name"].startswith(prefix)
        )
        known = [upload_id for name, _, upload_id in found if name == after]
        # Behind one that has ended meanwhile, those of its name come again: none may be missed.
        behind = known[known.index(mark) + 1 if mark in known else 0 :] if mark else []
        rest = [each for each in found if each[0] > after or each[2] in behind]
        return _document("ListMultipartUploadsResult", _uploads_page(bucket, query, rest, most))

    def _place(self, exchange: Exchange, upload: _Upload, content: ObjectContent) -> ObjectRecord:
        with self._objects.change(content) as displaced:
            if self._catalogue.session(upload.id) is None:
                raise NoSuchUpload  # aborted or completed while a thread joined the parts
            received = ReceivedBytes(content)
            stored = self._objects.place(exchange.access, upload.draft, received, displaced)
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
        found = self._catalogue.session(upload_id, since=self._clock.now() - LIFETIME)
        if found is None or not upload_id.startswith(MULTIPART_PREFIX):
            raise NoSuchUpload
        values = json.loads(found[0])
        if (values["bucket"], values["name"]) != (bucket, name):
            raise NoSuchUpload
        return _Upload(upload_id, ObjectDraft(**values, conditions=Preconditions()))

    def _require(self, exchange: Exchange, verb: str, bucket: str, name: str = "") -> None:
        exchange.access.require(f"storage.multipartUploads.{verb}", bucket, name)

    def _forget(self, upload_id: str) -> None:
        for part in self._catalogue.drop_parts(upload_id):
            self._blobs.delete(part.content.blob)


def _uploads_page(
    bucket: str, query: Mapping[str, str], found: Sequence[tuple[str, float, str]], most: int
) -> str:
    """Return the content of a list with the first `most` of the uploads that were found."""
    is_encoded = query.get("encoding-type") == "url"

    def text(name: str, value: str) -> str:
        return f"<{name}>{xml_text(quote(value) if is_encoded else value)}</{name}>"

    shown = found[:most]
    head = f"<Bucket>{xml_text(bucket)}</Bucket>" + text("Prefix", query.get("prefix", ""))
    head += text("KeyMarker", query.get("key-marker", ""))
    head += f"<MaxUploads>{most}</MaxUploads>"
    if is_encoded:
        head += "<EncodingType>url</EncodingType>"
    is_cut = len(found) > len(shown)
    if is_cut and shown:
        head += text("NextKeyMarker", shown[-1][0])
        head += f"<NextUploadIdMarker>{shown[-1][2]}</NextUploadIdMarker>"
    head += f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>"
    return head + "".join(
        f"<Upload>{text('Key', name)}<UploadId>{upload_id}</UploadId>"
        f"<Initiated>{timestamp(created)}</Initiated></Upload>"
        for name, created, upload_id in shown
    )


def _parts_of(body: bytes) -> list[tuple[int, str]]:
    """Return the numbers and ETags in the body of a completion. Raises UploadProblem."""
    named = [
        {tag_of(child): child.text or "" for child in part}
        for part in parse_xml(body)
        if tag_of(part) == "Part"
    ]
    if not named or not all({"PartNumber", "ETag"} <= part.keys() for part in named):
        raise UploadProblem(
            "MalformedXML", "The XML of the request must have parts with PartNumber and ETag."
        )
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
