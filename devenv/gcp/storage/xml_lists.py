"""Lists of the XML API: the objects of a bucket, in both versions of S3's clients, and the buckets.

See https://cloud.google.com/storage/docs/xml-api/get-bucket-list and
https://cloud.google.com/storage/docs/xml-api/get-service.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import quote

from starlette.responses import Response

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.errors import NOT_IN_XML, xml_text
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.listing import LAST, ListRequest, ObjectPage, parse
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.resources import timestamp
from devenv.gcp.storage.xml_documents import XML_TYPE

_NAMESPACE = "http://doc.s3.amazonaws.com/2006-03-01"
_MOST_BUCKETS = 1000


class XmlLists:
    """The handlers of lists."""

    def __init__(self, buckets: Buckets, objects: Objects) -> None:
        self._buckets = buckets
        self._objects = objects

    def list_buckets(self, exchange: Exchange) -> Response:
        """Answer with the buckets of the project, which the caller's account belongs to."""
        found, _ = self._buckets.listing(exchange.access, start="", prefix="", limit=_MOST_BUCKETS)
        items = "".join(
            _element(
                "Bucket", _text("Name", each.name) + _text("CreationDate", timestamp(each.created))
            )
            for each in found
        )
        return _document("ListAllMyBucketsResult", _element("Buckets", items))

    def head_bucket(self, exchange: Exchange, bucket: str) -> Response:
        found = self._buckets.get(exchange.access, bucket, (None, None))
        headers = {
            "x-goog-bucket-location": found.location,
            "x-goog-storage-class": found.storage_class,
            "x-goog-metageneration": str(found.metageneration),
        }
        return Response(headers=headers)

    def list_objects(self, exchange: Exchange, bucket: str) -> Response:
        """Answer with a page of objects; `list-type=2` is the version with tokens."""
        query = exchange.query
        is_second = query.get("list-type") == "2"
        request = _request(query, is_second=is_second)
        page = self._objects.listing(exchange.access, bucket, request)
        is_encoded = _is_encoded(query, page)
        encode = quote if is_encoded else str
        head = _text("Name", bucket) + _text("Prefix", encode(request.prefix))
        if request.delimiter:
            head += _text("Delimiter", encode(request.delimiter))
        if is_encoded:
            head += _text("EncodingType", "url")
        head += _text("MaxKeys", str(request.limit))
        head += _text("IsTruncated", "true" if page.token else "false")
        position = _second if is_second else _first
        entries = "".join(_contents(item, encode) for item in page.items) + "".join(
            _element("CommonPrefixes", _text("Prefix", encode(each))) for each in page.prefixes
        )
        return _document("ListBucketResult", head + position(query, page, encode) + entries)


def _request(query: Mapping[str, str], *, is_second: bool) -> ListRequest:
    """Return what a request asks for. Raises InvalidArgument."""
    names = {"prefix": "prefix", "delimiter": "delimiter", "max-keys": "maxResults"}
    if is_second:
        names["continuation-token"] = "pageToken"
    request = parse({own: query[name] for name, own in names.items() if query.get(name)})
    behind = query.get("start-after" if is_second else "marker", "")
    return replace(request, start=max(request.start, _behind(behind, request.delimiter)))


def _behind(name: str, delimiter: str) -> str:
    """Return where a page begins that follows a name, or everything below a common prefix."""
    if not name:
        return ""
    return name + (LAST if delimiter and name.endswith(delimiter) else "\0")


def _first(query: Mapping[str, str], page: ObjectPage, encode: Callable[[str], str]) -> str:
    """Return the position of a page of the first version, which the last name of it marks."""
    text = _text("Marker", encode(query.get("marker", "")))
    if page.token:
        last = max([*(item.name for item in page.items), *page.prefixes])
        text += _text("NextMarker", encode(last))
    return text


def _second(query: Mapping[str, str], page: ObjectPage, encode: Callable[[str], str]) -> str:
    text = _text("KeyCount", str(len(page)))
    for name, key in (("ContinuationToken", "continuation-token"), ("StartAfter", "start-after")):
        if query.get(key):
            text += _text(name, encode(query[key]) if key == "start-after" else query[key])
    return text + (_text("NextContinuationToken", page.token) if page.token else "")


def _contents(item: ObjectRecord, encode: Callable[[str], str]) -> str:
    return _element(
        "Contents",
        _text("Key", encode(item.name))
        + _text("Generation", str(item.generation))
        + _text("MetaGeneration", str(item.metageneration))
        + _text("LastModified", timestamp(item.updated))
        + _text("ETag", f'"{item.etag}"')
        + _text("Size", str(item.content.size)),
    )


def _is_encoded(query: Mapping[str, str], page: ObjectPage) -> bool:
    """Return whether names are percent-encoded: if the client asks for it, or XML has no other form."""
    wanted = query.get("encoding-type", "")
    if wanted not in ("", "url"):
        raise InvalidArgument(f"encoding-type is {wanted[:40]!r}; it must be url.")
    names = (*(item.name for item in page.items), *page.prefixes, *query.values())
    return wanted == "url" or any(map(NOT_IN_XML.search, names))


def _text(name: str, text: str) -> str:
    return _element(name, xml_text(text))


def _element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"


def _document(name: str, content: str) -> Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{name} xmlns='{_NAMESPACE}'>{content}</{name}>"
    return Response(text, media_type=XML_TYPE)
