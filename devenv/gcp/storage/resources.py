"""How buckets and objects look in JSON and in HTTP headers.

After https://cloud.google.com/storage/docs/json_api/v1/objects#resource-representations.
"""

import base64
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from devenv.gcp.storage.model import Bucket, Object

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADERS = {
    "contentEncoding": "content-encoding",
    "contentDisposition": "content-disposition",
    "contentLanguage": "content-language",
    "cacheControl": "cache-control",
}


@dataclass(frozen=True, slots=True)
class Shapes:
    """Builds resources whose links lead to `base`, the scheme and host that the client used."""

    base: str
    number: str
    region: str

    def object(self, item: Object) -> dict[str, Any]:
        content = item.content
        path = f"/storage/v1/b/{item.bucket}/o/{quote(item.name, safe='')}"
        created, updated = _time(item.created), _time(item.updated)
        resource: dict[str, Any] = {
            "kind": "storage#object",
            "id": f"{item.bucket}/{item.name}/{item.generation}",
            "selfLink": self.base + path,
            "mediaLink": f"{self.base}/download{path}?generation={item.generation}&alt=media",
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
            "timeStorageClassUpdated": created,
            "timeFinalized": created,
            **item.fields,
        }
        if content.md5:
            resource["md5Hash"] = content.md5
        if content.components:
            resource["componentCount"] = content.components
        if item.deleted:
            resource["timeDeleted"] = _time(item.deleted)
        return resource

    def bucket(self, bucket: Bucket) -> dict[str, Any]:
        tag = f"bucket/{bucket.metageneration}".encode()
        return {
            "kind": "storage#bucket",
            "id": bucket.name,
            "selfLink": f"{self.base}/storage/v1/b/{bucket.name}",
            "name": bucket.name,
            "projectNumber": self.number,
            "generation": str(int(bucket.created * 1_000_000)),
            "metageneration": str(bucket.metageneration),
            "location": self.region.upper(),
            "locationType": "region",
            "storageClass": "STANDARD",
            "etag": base64.b64encode(tag).decode(),
            "timeCreated": _time(bucket.created),
            "updated": _time(bucket.updated),
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": True},
                "publicAccessPrevention": "inherited",
            },
            **bucket.fields,
        }


def media_headers(item: Object) -> dict[str, str]:
    """Return the headers of a download, but for its length and range."""
    content, fields = item.content, item.fields
    sums = f"crc32c={content.crc32c}" + (f",md5={content.md5}" if content.md5 else "")
    headers = {
        "content-type": fields.get("contentType", "application/octet-stream"),
        "etag": item.etag,
        "last-modified": formatdate(item.updated, usegmt=True),
        "accept-ranges": "bytes",
        "x-goog-generation": str(item.generation),
        "x-goog-metageneration": str(item.metageneration),
        "x-goog-hash": sums,
        "x-goog-stored-content-encoding": fields.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(content.size),
        "x-goog-storage-class": fields.get("storageClass", "STANDARD"),
    }
    headers |= {header: fields[key] for key, header in _HEADERS.items() if key in fields}
    return {name: _latin(value) for name, value in headers.items()}


def metadata_headers(item: Object) -> dict[str, str]:
    """Return custom metadata as the XML API's headers, as far as it can be written in them."""
    return {
        f"x-goog-meta-{key.lower()}": _latin(value)
        for key, value in item.fields.get("metadata", {}).items()
        if _TOKEN.fullmatch(key) and value.isprintable()
    }


def fields_of_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what the headers of an XML upload set on the object."""
    fields: dict[str, Any] = {
        key: headers[header] for key, header in _HEADERS.items() if header in headers
    }
    fields["contentType"] = headers.get("content-type") or "application/octet-stream"
    metadata = {
        name.removeprefix("x-goog-meta-"): value
        for name, value in headers.items()
        if name.startswith("x-goog-meta-")
    }
    return fields | ({"metadata": metadata} if metadata else {})


def sums_of_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums that a client sends with the bytes: `crc32c` and `md5`."""
    sums = {"md5": headers["content-md5"]} if "content-md5" in headers else {}
    for item in headers.get("x-goog-hash", "").split(","):
        name, _, value = item.strip().partition("=")
        if name in ("crc32c", "md5"):
            sums[name] = value
    return sums


def _latin(value: str) -> str:
    """HTTP headers carry bytes; what is beyond ASCII goes out as UTF-8, as at Google."""
    return value.encode("utf-8", "replace").decode("latin-1")


def _time(moment: float) -> str:
    stamp = dt.datetime.fromtimestamp(moment, dt.UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
