"""Objects in requests: references, drafts of new ones, and checks of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.errors import Held, Retained
from devenv.gcp.storage.model import BucketRecord, ObjectContent, ObjectRecord
from devenv.gcp.storage.parameters import UNCONDITIONAL, Preconditions
from devenv.gcp.storage.resources import timestamp

# Entries of an access control list, or the name of a predefined one.
WantedList: TypeAlias = tuple[object, str]
NO_LIST: WantedList = (None, "")


@dataclass(slots=True)  # not frozen, because one is made for each call
class ObjectRef:
    """The object that a request names; without a generation the live one."""

    bucket: str
    name: str
    generation: int | None = None
    conditions: Preconditions = UNCONDITIONAL

    def require(self, access: Access, permission: str) -> None:
        """Return if the caller has a permission on this generation. Raises CloudError."""
        access.require(permission, self.bucket, self.name, generation=self.generation)


@dataclass(slots=True)  # not frozen, because one is made for each upload
class ObjectDraft:
    """An object about to be written; `crc32c` and `md5` are checksums that its bytes must match.

    `entries` or `predefined` set its access control list in place of the bucket's default.
    """

    bucket: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    conditions: Preconditions = UNCONDITIONAL
    crc32c: str = ""
    md5: str = ""
    entries: object = None
    predefined: str = ""


def check_sums(draft: ObjectDraft, content: ObjectContent) -> None:
    """Raise InvalidArgument if the bytes that arrived are not those that were sent."""
    for name, given, found in (
        ("CRC32C", draft.crc32c, content.crc32c),
        ("MD5 hash", draft.md5, content.md5),
    ):
        if given and found and given != found:
            raise InvalidArgument(
                f'Provided {name} "{given[:64]}" doesn\'t match calculated {name} "{found}".'
            )


def check_protection(item: ObjectRecord, bucket: BucketRecord | None, now: float) -> None:
    """Raise PermissionDenied if a hold or the retention policy protects `item`."""
    name = f"Object '{item.bucket}/{item.name}'"
    kept = "cannot be deleted, overwritten or archived until"
    for field_name, hold in (("eventBasedHold", "Event-Based"), ("temporaryHold", "Temporary")):
        if item.fields.get(field_name):
            raise Held(f"{name} is under active {hold} hold and {kept} hold is removed.")
    until = bucket.retained_until(item) if bucket else 0.0
    if now < until:
        raise Retained(
            f"{name} is subject to bucket's retention policy and {kept} {timestamp(until)}"
        )


def check_update(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse changes of metadata that Google refuses. Raises InvalidArgument."""
    known = before.get("storageClass", "STANDARD")
    if after.get("storageClass", known) != known:
        raise InvalidArgument("The storage class of an object can be changed by a rewrite only.")
    if "customTime" in before and after.get("customTime", "") < before["customTime"]:
        raise InvalidArgument("Custom time cannot be removed or set to an earlier time.")
