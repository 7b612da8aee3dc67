"""The rules of buckets: creation, changes, retention policies, deletion.

A change replaces the stored bucket with one of the next metageneration. A retention policy protects
every object of its bucket, those that are there already too; once locked it can be extended, but
neither shortened nor removed. Buckets are listed and created in the one emulated project.

See https://cloud.google.com/storage/docs/json_api/v1/buckets and
https://cloud.google.com/storage/docs/bucket-lock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from devenv.gcp.clock import Clock
from devenv.gcp.errors import AlreadyExists, InvalidArgument, PermissionDenied
from devenv.gcp.storage.access import Access, StorageTarget
from devenv.gcp.storage.acl import AccessLists
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.errors import NoSuchBucket, PreconditionFailed
from devenv.gcp.storage.fields import bucket_fields, merged
from devenv.gcp.storage.listing import make_token
from devenv.gcp.storage.model import BucketRecord, check_bucket_name
from devenv.gcp.storage.resources import timestamp

POLICY = "retentionPolicy"
SOFT_DELETE = "softDeletePolicy"
IAM, UNIFORM = "iamConfiguration", "uniformBucketLevelAccess"
_UNTIL_LOCKED = 90 * 86_400  # seconds


@dataclass(frozen=True, slots=True)
class WantedLists:
    """The access control lists that a request sets: entries, or names of predefined lists."""

    entries: object = None
    predefined: str = ""
    default_entries: object = None
    predefined_default: str = ""

    @classmethod
    def of(cls, resource: Mapping[str, Any], query: Mapping[str, str]) -> Self:
        """Read them; a predefined list goes before entries, which Google's client sends empty."""
        return cls(
            resource.get("acl"),
            query.get("predefinedAcl", ""),
            resource.get("defaultObjectAcl"),
            query.get("predefinedDefaultObjectAcl", ""),
        )

    @property
    def any(self) -> bool:
        """Whether the request sets a list at all."""
        return bool(
            self.entries or self.predefined or self.default_entries or self.predefined_default
        )


NO_LISTS = WantedLists()


class Buckets:
    """Creates, finds, changes and deletes buckets."""

    def __init__(
        self,
        catalogue: Catalogue,
        clock: Clock,
        region: str,
        lists: AccessLists,
        forget: Callable[[str], None],
    ) -> None:
        """`region` is the location of buckets that were created without one.

        `forget` removes the IAM policy of a resource.
        """
        self._forget = forget
        self._lists = lists
        self._region = region.upper()
        self._catalogue = catalogue
        self._clock = clock

    def ensure(self, names: Iterable[str]) -> None:
        """Create those of `names` that do not exist."""
        for name in names:
            check_bucket_name(name)
            if self._catalogue.bucket(name) is None:
                self._catalogue.save_bucket(self._new(name, {}))

    def create(
        self, access: Access, resource: Mapping[str, Any], wanted: WantedLists = NO_LISTS
    ) -> BucketRecord:
        access.require("storage.buckets.create")
        name = str(resource.get("name", ""))
        check_bucket_name(name)
        if self._catalogue.bucket(name):
            raise AlreadyExists(
                "Your previous request to create the named bucket succeeded and you already own it."
            )
        fields = bucket_fields(resource)
        if wanted.any:  # Google's default, which is of use to such a caller alone
            fields.setdefault(IAM, {UNIFORM: {"enabled": False}})
        bucket = self._new(name, self._with_policies({}, fields, name))
        bucket = self._with_lists(bucket, wanted)
        self._catalogue.save_bucket(bucket)
        return bucket

    def get(
        self,
        access: Access,
        name: str,
        metageneration: tuple[int | None, int | None] = (None, None),
    ) -> BucketRecord:
        """Return a bucket; `metageneration` are the ones that it must and must not have."""
        access.require("storage.buckets.get", name)
        return self._find(name, metageneration)

    def find(self, name: str) -> BucketRecord:
        """Return a bucket to a caller whose rights are checked. Raises NoSuchBucket."""
        return self._find(name, (None, None))

    def layout(self, access: Access, name: str, prefix: str) -> BucketRecord:
        """Return a bucket to a caller who may list its objects."""
        access.require("storage.objects.list", name, prefix=prefix)
        return self.find(name)

    def listing(
        self, access: Access, *, start: str, prefix: str, limit: int
    ) -> tuple[list[BucketRecord], str]:
        """Return one page and the token of the next, which is empty on the last."""
        access.require("storage.buckets.list")
        found = self._catalogue.buckets(start=start, prefix=prefix, limit=limit + 1)
        token = make_token(found[limit].name) if len(found) > limit else ""
        return found[:limit], token

    def update(
        self,
        access: Access,
        name: str,
        resource: Mapping[str, Any],
        *,
        whole: bool,
        metageneration: tuple[int | None, int | None],
        wanted: WantedLists = NO_LISTS,
    ) -> BucketRecord:
        """Change settings by a merge patch, or replace all of them when `whole`."""
        access.require("storage.buckets.update", name)
        if wanted != NO_LISTS:
            access.require("storage.buckets.setIamPolicy", name)
        before = self._find(name, metageneration)
        location = before.location or self._region
        fields = bucket_fields(resource if whole else merged(before.fields, resource))
        if fields.setdefault("location", location) != location:
            raise InvalidArgument("The location of a bucket cannot be changed.")
        fields = self._with_policies(before.fields, fields, name)
        return self._change(self._with_lists(replace(before, fields=fields), wanted), fields)

    def set_lists(self, access: Access, name: str, wanted: WantedLists) -> BucketRecord:
        """Change the access control lists of a bucket alone."""
        access.require("storage.buckets.setIamPolicy", name)
        before = self.find(name)
        return self._change(self._with_lists(before, wanted), before.fields)

    def lock(self, access: Access, name: str, metageneration: int) -> BucketRecord:
        """Make the retention policy permanent."""
        access.require("storage.buckets.update", name)
        before = self._find(name, (metageneration, None))
        policy = before.fields.get(POLICY)
        if not policy:
            raise InvalidArgument(f"Bucket '{name}' has no retention policy to lock.")
        return self._change(before, {**before.fields, POLICY: {**policy, "isLocked": True}})

    def delete(
        self, access: Access, name: str, metageneration: tuple[int | None, int | None]
    ) -> None:
        access.require("storage.buckets.delete", name)
        self._find(name, metageneration)
        if not self._catalogue.empty(name):
            raise AlreadyExists("The bucket you tried to delete is not empty.")
        self.drop(name)

    def drop(self, name: str) -> None:
        """Remove an empty bucket with its policy."""
        self._catalogue.drop_bucket(name)
        self._forget(StorageTarget(name).full_name)

    def _with_policies(
        self, before: Mapping[str, Any], fields: dict[str, Any], name: str
    ) -> dict[str, Any]:
        """Return `fields` with the parts of the policies that the service decides."""
        fields = self._with_uniform_access(before, self._with_retention(before, fields, name))
        new = fields.get(SOFT_DELETE)
        if new is None:
            return fields
        old, duration = before.get(SOFT_DELETE, {}), new["retentionDurationSeconds"]
        same = old.get("retentionDurationSeconds") == duration
        effective = old["effectiveTime"] if same else timestamp(self._clock.now())
        policy = {"retentionDurationSeconds": duration, "effectiveTime": effective}
        return {**fields, SOFT_DELETE: policy}

    def _with_uniform_access(
        self, before: Mapping[str, Any], fields: dict[str, Any]
    ) -> dict[str, Any]:
        """Return `fields` with the moment from which uniform access cannot be switched off."""
        if IAM not in fields:
            return fields
        now = self._clock.now()
        old = before.get(IAM, {}).get(UNIFORM, {})
        locked = old.get("lockedTime", "")
        is_uniform = fields[IAM][UNIFORM]["enabled"]
        if locked and not is_uniform and locked < timestamp(now):
            raise InvalidArgument(
                f"Uniform bucket-level access cannot be switched off: it is locked since {locked}."
            )
        uniform: dict[str, Any] = {"enabled": is_uniform}
        if is_uniform:
            uniform["lockedTime"] = locked or timestamp(now + _UNTIL_LOCKED)
        return {**fields, IAM: {**fields[IAM], UNIFORM: uniform}}

    def _with_lists(self, bucket: BucketRecord, wanted: WantedLists) -> BucketRecord:
        """Return a bucket with the access control lists that a request sets."""
        lists = self._lists
        if lists.is_wanted(bucket, wanted.entries, wanted.predefined):
            acl = lists.for_bucket(bucket, wanted.entries, wanted.predefined)
            bucket = replace(bucket, acl=acl)
        if lists.is_wanted(bucket, wanted.default_entries, wanted.predefined_default):
            acl = lists.for_objects(bucket, wanted.default_entries, wanted.predefined_default)
            bucket = replace(bucket, default_acl=acl)
        return bucket

    def _with_retention(
        self, before: Mapping[str, Any], fields: dict[str, Any], name: str
    ) -> dict[str, Any]:
        """Return `fields` with the parts of the retention policy that the service decides."""
        old, new = before.get(POLICY, {}), fields.get(POLICY)
        period = int(new["retentionPeriod"]) if new else 0
        if old.get("isLocked") and period < int(old["retentionPeriod"]):
            raise PermissionDenied(
                "Cannot reduce retention duration of a locked Retention Policy for bucket "
                f"'{name}'."
            )
        if not new:
            return fields
        same = old.get("retentionPeriod") == new["retentionPeriod"]
        effective = old["effectiveTime"] if same else timestamp(self._clock.now())
        policy = {"retentionPeriod": new["retentionPeriod"], "effectiveTime": effective}
        locked = {"isLocked": True} if old.get("isLocked") else {}
        return {**fields, POLICY: policy | locked}

    def _find(self, name: str, metageneration: tuple[int | None, int | None]) -> BucketRecord:
        bucket = self._catalogue.bucket(name)
        if bucket is None:
            raise NoSuchBucket
        wanted, unwanted = metageneration
        if wanted not in (None, bucket.metageneration) or unwanted == bucket.metageneration:
            raise PreconditionFailed
        return bucket

    def _new(self, name: str, fields: Mapping[str, Any]) -> BucketRecord:
        now = self._clock.now()
        return BucketRecord(name, now, now, fields=fields)

    def _change(self, before: BucketRecord, fields: Mapping[str, Any]) -> BucketRecord:
        after = replace(
            before,
            fields=fields,
            metageneration=before.metageneration + 1,
            updated=self._clock.now(),
        )
        self._catalogue.save_bucket(after)
        return after
