"""Buckets and objects as they are kept, and the names that they may have.

A bucket or object is a value that is never changed: a change makes a new one with the next
metageneration, new bytes make a new generation. `fields` holds what a client set, under its JSON
name and validated by `fields.py`; everything else that a resource shows is derived from the other
attributes. The bytes themselves are files or rows, named by `ObjectContent.blob`.

Names follow https://cloud.google.com/storage/docs/buckets#naming and
https://cloud.google.com/storage/docs/objects#naming.
"""

import base64
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import orjson

from devenv.gcp.errors import InvalidArgument


def dump_json(value: Any) -> bytes:
    """Return a value, which may be a dataclass, as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a character, which an earlier version let in, or a large number
        return json.dumps(value, default=asdict).encode()


_FORBIDDEN = re.compile(r"[\r\n\0]")
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")


@dataclass(slots=True)  # not frozen, because one is made for each upload; never changed
class ObjectContent:
    """Stored bytes and their checksums in base64; composed bytes have no MD5."""

    blob: str
    size: int
    crc32c: str
    md5: str = ""
    components: int = 0


@dataclass(slots=True)  # not frozen, because one is made for each upload; never changed
class ObjectRecord:
    """One generation of an object.

    `retained_from` is the moment from which the bucket's retention period counts, if that is not
    its creation: the release of its event-based hold. `reclassed` is the moment of the latest
    change of its storage class, 0 before any. A soft-deleted object has the moments of its deletion
    and of its end, `soft_deleted` and `hard_deleted`. `owner` is the address of its maker, and `acl`
    its access control list, where uniform access was off when it was made.
    """

    bucket: str
    name: str
    generation: int
    content: ObjectContent
    created: float
    updated: float
    metageneration: int = 1
    deleted: float = 0.0
    retained_from: float = 0.0
    reclassed: float = 0.0
    soft_deleted: float = 0.0
    hard_deleted: float = 0.0
    fields: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    acl: Mapping[str, str] | None = None

    def __hash__(self) -> int:
        return hash((self.bucket, self.name, self.generation, self.metageneration))

    @property
    def etag(self) -> str:
        tag = f"{self.generation}/{self.metageneration}"
        return base64.b64encode(tag.encode()).decode()

    def dump(self) -> str:
        return dump_json(self).decode()

    @classmethod
    def load(cls, text: str) -> Self:
        values = orjson.loads(text)
        return cls(**values | {"content": ObjectContent(**values["content"])})


@dataclass(frozen=True)  # without slots, for the values that are derived once
class BucketRecord:
    """A bucket and its settings; a list of access control that is None was never set."""

    name: str
    created: float
    updated: float
    metageneration: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    acl: Mapping[str, str] | None = None
    default_acl: Mapping[str, str] | None = None

    @cached_property
    def uniform(self) -> bool:
        """Whether IAM alone decides, and lists of access control do not."""
        iam = self.fields.get("iamConfiguration", {})
        return bool(iam.get("uniformBucketLevelAccess", {}).get("enabled", True))

    @cached_property
    def versioned(self) -> bool:
        """Whether an overwritten or deleted object is kept as a noncurrent version."""
        return bool(self.fields.get("versioning", {}).get("enabled"))

    @cached_property
    def storage_class(self) -> str:
        """The class of objects that name none."""
        return str(self.fields.get("storageClass", "STANDARD"))

    @cached_property
    def location(self) -> str:
        """The location that the bucket was created with; empty for the project's region."""
        return str(self.fields.get("location", ""))

    @cached_property
    def private(self) -> bool:
        """Whether public access prevention is enforced."""
        iam = self.fields.get("iamConfiguration", {})
        return bool(iam.get("publicAccessPrevention") == "enforced")

    @cached_property
    def soft_delete_seconds(self) -> int:
        """How long a deleted object can be restored; 0 if it cannot."""
        return int(self.fields.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))

    def retained_until(self, item: ObjectRecord) -> float:
        """Return when the retention policy lets `item` go; 0 without a policy or a known time."""
        policy = self.fields.get("retentionPolicy")
        if not policy or item.fields.get("eventBasedHold"):
            return 0.0
        return (item.retained_from or item.created) + int(policy["retentionPeriod"])

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        return cls(**json.loads(text))


def check_bucket_name(name: str) -> None:
    """Raise InvalidArgument for a name that no bucket may have."""
    parts = name.split(".")
    if (
        not _BUCKET_NAME.fullmatch(name)
        or not all(1 <= len(part) <= 63 for part in parts)
        or name.startswith("goog")
        or "google" in name
        or _is_address(name)
    ):
        raise InvalidArgument(f"Invalid bucket name: '{name[:230]}'")


def check_object_name(name: str) -> None:
    """Raise InvalidArgument for a name that no object may have."""
    if not name:
        raise InvalidArgument("Required")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument("The object name is not valid UTF-8.") from error
    if size > 1024:
        raise InvalidArgument(
            "The maximum object name length is 1024 bytes when UTF-8 encoded; "
            f"received a name with length {size} bytes."
        )
    if (
        name in {".", ".."}
        or _FORBIDDEN.search(name)
        or name.startswith(".well-known/acme-challenge/")
    ):
        raise InvalidArgument("Disallowed unicode characters or words present in object name.")


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
