"""The XML API, which signed URLs, parallel uploads and S3's clients use.

GET, HEAD, PUT and DELETE act on the object that the path names, POST begins resumable and multipart
uploads. Settings of an object arrive as headers. A form is posted to a bucket. GET of a bucket lists
its objects, GET of `/` the buckets. Everything else that the XML API has, such as copies by header, is
refused by name: a subresource such as `?website` must not be answered with the object.

See https://cloud.google.com/storage/docs/xml-api/reference-methods.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from starlette.responses import Response

from devenv.gcp.storage.acl import predefined_name
from devenv.gcp.storage.acl_api import AclMethods
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.drafts import ObjectDraft
from devenv.gcp.storage.errors import MethodNotAllowed, NotEmulated, xml_text
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.forms import XmlForms
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.media import Media, incomplete, limited
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import number, parse
from devenv.gcp.storage.resources import (
    fields_of_headers,
    media_headers,
    metadata_headers,
    sums_of_headers,
)
from devenv.gcp.storage.xml_acl import XmlAcl
from devenv.gcp.storage.xml_buckets import SETTINGS, XmlBuckets
from devenv.gcp.storage.xml_documents import XML_TYPE
from devenv.gcp.storage.xml_lists import XmlLists
from devenv.gcp.storage.xml_uploads import XmlMultipart

_OVERRIDES = {
    "response-content-type": "content-type",
    "response-content-disposition": "content-disposition",
}


# Also those of S3, whose clients would otherwise delete a bucket with their DELETE of one.
_SUBRESOURCES = (
    *("accelerate", "analytics", "attributes", "billing", "compose", "encryption"),
    *("encryptionConfig", "intelligent-tiering", "inventory", "legal-hold", "logging", "metrics"),
    *("notification", "object-lock", "ownershipControls", "policy", "policyStatus"),
    *("publicAccessBlock", "replication", "requestPayment", "restore", "retention", "select"),
    *("torrent", "versions", "website"),
)
_REFUSED_HEADERS = (
    *("x-goog-copy-source", "x-goog-encryption-kms-key-name"),
    *("x-goog-object-lock-mode", "x-goog-object-lock-retain-until-date"),
)
_UNBOUNDED = 2**63 - 1
_NOT_ALLOWED = "The specified method is not allowed against this resource."


class XmlApi:
    """The handler of plain paths, `/bucket/object`."""

    def __init__(
        self,
        buckets: Buckets,
        objects: Objects,
        media: Media,
        multipart: XmlMultipart,
        forms: XmlForms,
        acl_methods: Mapping[str, AclMethods],
    ) -> None:
        self._acl = XmlAcl(buckets, objects, acl_methods)
        self._objects = objects
        self._media = media
        self._multipart = multipart
        self._forms = forms
        self._buckets = XmlBuckets(buckets)
        self._lists = XmlLists(buckets, objects)

    async def handle(self, exchange: Exchange, bucket: str, name: str) -> Response:
        """Answer a request for an object, for a bucket without `name`, or for all buckets."""
        _check_supported(exchange, _SUBRESOURCES if not name else (*_SUBRESOURCES, *SETTINGS))
        method = exchange.request.method
        if "acl" in exchange.query or "defaultObjectAcl" in exchange.query:
            return await self._acl.handle(exchange, bucket, name)
        if not name:
            return await self._bucket(exchange, method, bucket)
        if "uploadId" in exchange.query or "uploads" in exchange.query:
            return await self._multipart_upload(exchange, method, bucket, name)
        if method in ("GET", "HEAD") and "upload_id" not in exchange.query:
            return self._get(exchange, bucket, name)
        return await self._change(exchange, method, bucket, name)

    async def _bucket(self, exchange: Exchange, method: str, bucket: str) -> Response:
        if method == "POST" and _is_form(exchange):
            return await self._forms.post(exchange, bucket)
        if "uploads" in exchange.query and bucket and method == "GET":
            return self._multipart.list_uploads(exchange, bucket)
        is_setting = any(name in exchange.query for name in SETTINGS)
        if method == "GET" and not is_setting:
            lists = self._lists
            return lists.list_objects(exchange, bucket) if bucket else lists.list_buckets(exchange)
        if method == "HEAD" and bucket:
            return self._lists.head_bucket(exchange, bucket)
        if not bucket:
            raise MethodNotAllowed(_NOT_ALLOWED)
        return await self._buckets.handle(exchange, bucket)

    async def _change(self, exchange: Exchange, method: str, bucket: str, name: str) -> Response:
        if "upload_id" in exchange.query:
            return await self._session(exchange, method)
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
        body = limited(exchange.stream(), *_limits(exchange))
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


def _is_form(exchange: Exchange) -> bool:
    return exchange.headers.get("content-type", "").lower().startswith("multipart/form-data")


def _draft(exchange: Exchange, bucket: str, name: str) -> ObjectDraft:
    headers = exchange.headers
    return ObjectDraft(
        bucket,
        name,
        object_fields(fields_of_headers(headers)),
        parse(exchange.query, headers),
        predefined=predefined_name(headers.get("x-goog-acl", "")),
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
        f"<Location>{xml_text(place)}</Location><Bucket>{xml_text(item.bucket)}</Bucket>"
        f"<Key>{xml_text(item.name)}</Key><ETag>&quot;{item.etag}&quot;</ETag>"
        "</CompleteMultipartUploadResult>"
    )
    headers = dict(_stored(item).headers) | {"content-length": str(len(text.encode()))}
    return Response(text, headers=headers, media_type=XML_TYPE)


def _check_supported(exchange: Exchange, subresources: Iterable[str]) -> None:
    """Refuse subresources and headers whose effect is not emulated. Raises NotEmulated."""
    for name in subresources:
        if name in exchange.query:
            raise NotEmulated(f"The subresource '{name}' of the XML API")
    for name in _REFUSED_HEADERS:
        if name in exchange.headers:
            raise NotEmulated(f"The header '{name}'")


def _limits(exchange: Exchange) -> tuple[int, int]:
    """Return the range that a signed URL may demand of the length of the body."""
    limits = exchange.headers.get("x-goog-content-length-range", f"0,{_UNBOUNDED}")
    low, _, high = limits.partition(",")
    least, most = (number(text.strip(), "x-goog-content-length-range") for text in (low, high))
    return least, most
