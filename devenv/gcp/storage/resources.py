"""Representations of buckets and objects: resources in JSON, headers of the XML API.

A resource shows the settings of its bucket or object, and what the service computes: links that
lead to the host that the client used, checksums, times, and the values that Google fills in where a
client set none.

See https://cloud.google.com/storage/docs/json_api/v1/objects#resource-representations.
"""

import base64
import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote

from devenv.gcp.storage.acl import AccessLists, bucket_entry, default_entry, object_entry
from devenv.gcp.storage.fields import location_type
from devenv.gcp.storage.model import BucketRecord, ObjectRecord, dump_json

_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")  # needs no quotes but for its slashes
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADERS = {
    "contentEncoding": "content-encoding",
    "contentDisposition": "content-disposition",
    "contentLanguage": "content-language",
    "cacheControl": "cache-control",
}
HeaderPair: TypeAlias = tuple[bytes, bytes]
_SETTINGS = {"customTime": "x-goog-custom-time", "storageClass": "x-goog-storage-class"}


@dataclass(slots=True)  # not frozen, because one is made for each call
class Shapes:
    """Builder of resources whose links lead to `base`, the scheme and host of the request.

    With `lists` the resources show their access control lists (`projection=full`).
    """

    base: str
    number: str
    region: str
    find: Callable[[str], BucketRecord | None]
    lists: AccessLists | None = None

    def object(self, item: ObjectRecord) -> dict[str, Any]:
        resource = _object(self.base, item, self._retained(item))
        bucket = self.find(item.bucket) if self.lists else None
        if self.lists and bucket and not bucket.uniform:
            acl = self.lists.of_object(bucket, item)
            resource["acl"] = [object_entry(self.base, item, *entry) for entry in acl.items()]
            resource["owner"] = {"entity": self.lists.owner_of(item)}
        return resource

    def object_text(self, item: ObjectRecord) -> bytes:
        """Return the resource as JSON."""
        if self.lists:
            return dump_json(self.object(item))
        return _object_text(self.base, item, self._retained(item))

    def _retained(self, item: ObjectRecord) -> float:
        bucket = self.find(item.bucket)
        return bucket.retained_until(item) if bucket else 0.0

    def bucket(self, bucket: BucketRecord) -> dict[str, Any]:
        tag = f"bucket/{bucket.metageneration}".encode()
        layout = self._place(bucket)
        created = timestamp(bucket.created)
        resource = {
            "kind": "storage#bucket",
            "id": bucket.name,
            "selfLink": f"{self.base}/storage/v1/b/{bucket.name}",
            "name": bucket.name,
            "projectNumber": self.number,
            "generation": str(int(bucket.created * 1_000_000)),
            "metageneration": str(bucket.metageneration),
            **layout,
            "storageClass": "STANDARD",
            "etag": base64.b64encode(tag).decode(),
            "timeCreated": created,
            "updated": timestamp(bucket.updated),
            "softDeletePolicy": {"retentionDurationSeconds": "0", "effectiveTime": created},
            **bucket.fields,
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": True},
                "publicAccessPrevention": "inherited",
                **bucket.fields.get("iamConfiguration", {}),
            },
        }
        if self.lists and not bucket.uniform:
            entries = self.lists.of_bucket(bucket).items()
            resource["acl"] = [bucket_entry(self.base, bucket, *entry) for entry in entries]
            defaults = self.lists.default_of(bucket).items()
            resource["defaultObjectAcl"] = [default_entry(*entry) for entry in defaults]
            resource["owner"] = {"entity": self.lists.bucket_owner()}
        if layout["locationType"] != "region":
            resource.setdefault("rpo", "DEFAULT")
        return resource

    def layout(self, bucket: BucketRecord) -> dict[str, Any]:
        """Return what clients ask before they decide how to copy and remove whole trees."""
        return {
            "kind": "storage#storageLayout",
            "bucket": bucket.name,
            **self._place(bucket),
            "hierarchicalNamespace": {"enabled": False},
        }

    def _place(self, bucket: BucketRecord) -> dict[str, str]:
        location = bucket.location or self.region.upper()
        return {"location": location, "locationType": location_type(location)}


def _object(base: str, item: ObjectRecord, retained: float) -> dict[str, Any]:
    content = item.content
    name = item.name
    quoted = name.replace("/", "%2F") if _PLAIN.fullmatch(name) else quote(name, safe="")
    path = f"/storage/v1/b/{item.bucket}/o/{quoted}"
    created, updated = timestamp(item.created), timestamp(item.updated)
    resource: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{item.bucket}/{item.name}/{item.generation}",
        "selfLink": base + path,
        "mediaLink": f"{base}/download{path}?generation={item.generation}&alt=media",
        "name": item.name,
        "bucket": item.bucket,
        "generation": str(item.generation),
        "metageneration": str(item.metageneration),
        "storageClass": "STANDARD",
        "size": str(content.size),
        "crc32c": content.crc32c,
        "etag": item.etag,
        "timeCreated": created,
        "updated": updated,
        "timeStorageClassUpdated": timestamp(item.reclassed or item.created),
        "timeFinalized": created,
        **item.fields,
    }
    if content.md5:
        resource["md5Hash"] = content.md5
    if content.components:
        resource["componentCount"] = content.components
    if item.deleted:
        resource["timeDeleted"] = timestamp(item.deleted)
    if item.soft_deleted:
        resource["softDeleteTime"] = timestamp(item.soft_deleted)
        resource["hardDeleteTime"] = timestamp(item.hard_deleted)
    if retained:
        resource["retentionExpirationTime"] = timestamp(retained)
    return resource


@lru_cache(maxsize=2048)  # a page of a list has up to 1000
def _object_text(base: str, item: ObjectRecord, retained: float) -> bytes:
    return dump_json(_object(base, item, retained))


def header_pairs(headers: Mapping[str, str]) -> tuple[HeaderPair, ...]:
    """Return headers as they are sent."""
    return tuple((name.encode(), value.encode("latin-1")) for name, value in headers.items())


@lru_cache(maxsize=1024)
def media_pairs(item: ObjectRecord) -> tuple[HeaderPair, ...]:
    """Return the headers of a download as they are sent, except its length and range."""
    content, fields = item.content, item.fields
    md5 = f",md5={content.md5}" if content.md5 else ""
    pairs = [
        (b"content-type", _sent(fields.get("contentType", "application/octet-stream"))),
        (b"etag", item.etag.encode()),
        (b"last-modified", _http_date(int(item.updated))),
        (b"accept-ranges", b"bytes"),
        (b"x-goog-generation", b"%d" % item.generation),
        (b"x-goog-metageneration", b"%d" % item.metageneration),
        (b"x-goog-hash", f"crc32c={content.crc32c}{md5}".encode()),
        (b"x-goog-stored-content-encoding", _sent(fields.get("contentEncoding", "identity"))),
        (b"x-goog-stored-content-length", b"%d" % content.size),
        (b"x-goog-storage-class", _sent(fields.get("storageClass", "STANDARD"))),
    ]
    for key, header in _HEADERS.items():
        if key in fields:
            pairs.append((header.encode(), _sent(fields[key])))
    return tuple(pairs)


def media_headers(item: ObjectRecord) -> dict[str, str]:
    """Return the headers of a download, except its length and range."""
    return {name.decode(): value.decode("latin-1") for name, value in media_pairs(item)}


def metadata_headers(item: ObjectRecord) -> dict[str, str]:
    """Return custom metadata as headers of the XML API; what no header can hold is left out."""
    return {
        f"x-goog-meta-{key.lower()}": _sent(value).decode("latin-1")
        for key, value in item.fields.get("metadata", {}).items()
        if _TOKEN.fullmatch(key) and value.isprintable()
    }


def fields_of_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that the headers of an XML upload make."""
    fields: dict[str, Any] = {
        key: headers[header] for key, header in _HEADERS.items() if header in headers
    }
    fields |= {key: headers[header] for key, header in _SETTINGS.items() if header in headers}
    fields["contentType"] = headers.get("content-type") or "application/octet-stream"
    metadata = {
        name.removeprefix("x-goog-meta-"): value
        for name, value in headers.items()
        if name.startswith("x-goog-meta-")
    }
    return fields | ({"metadata": metadata} if metadata else {})


def sums_of_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums, `crc32c` and `md5`, that a client sends with the bytes."""
    sums = {"md5": headers["content-md5"]} if "content-md5" in headers else {}
    hashes = headers.get("x-goog-hash")
    for item in hashes.split(",") if hashes else ():
        name, _, value = item.strip().partition("=")
        if name in ("crc32c", "md5"):
            sums[name] = value
    return sums


def _sent(value: str) -> bytes:
    return value.encode("utf-8", "replace")


@lru_cache(maxsize=64)
def _http_date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


@lru_cache(maxsize=64)  # one object shows the same moment several times
def timestamp(moment: float) -> str:
    """Return `moment` as Google writes it."""
    second, micros = divmod(round(moment * 1_000_000), 1_000_000)
    return f"{_second(second)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
