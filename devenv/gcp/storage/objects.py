"""The rules of objects: writes, reads, changes, deletions, copies and compositions.

Every change is one transaction that looks at the live object, checks permissions, preconditions,
holds and retention against it, and writes; files that it displaces are deleted after the commit. An
object that is under a hold, or younger than its bucket's retention period, can be neither deleted
nor overwritten nor made a noncurrent version; its metadata can be changed. The retention period of
an object that had an event-based hold counts from the release of the hold.

Where the bucket has a soft delete policy, an object that is removed is kept aside with its bytes
until the policy's duration has passed; a restored one is a new live object with the same bytes.

See https://cloud.google.com/storage/docs/json_api/v1/objects,
https://cloud.google.com/storage/docs/object-holds and
https://cloud.google.com/storage/docs/soft-delete.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, NotFound, PermissionDenied
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.catalogue import Blobs, Catalogue
from devenv.gcp.storage.errors import NoSuchBucket
from devenv.gcp.storage.fields import merged, object_fields
from devenv.gcp.storage.listing import ListRequest, ObjectPage, page
from devenv.gcp.storage.model import (
    BucketRecord,
    ObjectContent,
    ObjectRecord,
    check_object_name,
)
from devenv.gcp.storage.notifications import Notifications, ObjectEvent
from devenv.gcp.storage.parameters import Preconditions
from devenv.gcp.storage.resources import timestamp

ANY = Preconditions()
_NOT_COPIED = ("eventBasedHold", "storageClass", "temporaryHold")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The object that a request names; without a generation the live one."""

    bucket: str
    name: str
    generation: int | None = None
    conditions: Preconditions = ANY


@dataclass(frozen=True, slots=True)
class ObjectDraft:
    """An object about to be written; `crc32c` and `md5` are checksums that its bytes must match."""

    bucket: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    conditions: Preconditions = ANY
    crc32c: str = ""
    md5: str = ""


class Objects:
    """Writes, reads, changes and removes objects."""

    def __init__(
        self,
        catalogue: Catalogue,
        blobs: Blobs,
        clock: Clock,
        *,
        notifications: Notifications,
    ) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._clock = clock
        self._notifications = notifications
        self._events: list[ObjectEvent] = []  # of the transaction that goes on

    def begin(self, access: Access, draft: ObjectDraft) -> None:
        """Refuse before any bytes arrive what `place` would refuse now."""
        check_object_name(draft.name)
        access.require("storage.objects.create", draft.bucket, draft.name)
        if not self._catalogue.has_bucket(draft.bucket):
            raise NoSuchBucket
        self._check_overwrite(access, draft)

    def insert(self, access: Access, draft: ObjectDraft, content: ObjectContent) -> ObjectRecord:
        """Make `content` the live object; if that is refused, its file is deleted."""
        with self.change(content) as displaced:
            return self.place(access, draft, content, displaced)

    @contextmanager
    def change(self, content: ObjectContent | None = None) -> Iterator[list[str]]:
        """Run one transaction; yield a list for the files to delete after its commit."""
        displaced: list[str] = []
        try:
            with self._catalogue.transaction():
                yield displaced
                noted = self._notifications.note(self._events)
        except BaseException:
            if content:
                self._blobs.delete(content.blob)
            raise
        finally:
            self._events.clear()
        for blob in displaced:
            self._blobs.delete(blob)
        self._notifications.send(noted)

    def place(
        self, access: Access, draft: ObjectDraft, content: ObjectContent, displaced: list[str]
    ) -> ObjectRecord:
        """Write the object inside a `change`; preconditions are decided here."""
        check_sums(draft, content)
        bucket = self._catalogue.bucket(draft.bucket)
        if bucket is None:
            raise NoSuchBucket
        before = self._check_overwrite(access, draft)
        now = self._clock.now()
        generation = self._catalogue.next_generation(int(now * 1_000_000))
        if before:
            self._retire(before, displaced, keep=bucket.versioned, successor=generation)
        defaults: dict[str, Any] = {"storageClass": bucket.storage_class}
        if bucket.fields.get("defaultEventBasedHold"):
            defaults["eventBasedHold"] = True
        after = ObjectRecord(
            bucket=draft.bucket,
            name=draft.name,
            generation=generation,
            content=content,
            created=now,
            updated=now,
            fields={**defaults, **draft.fields},
        )
        self._catalogue.save(after)
        replaced = {"overwroteGeneration": str(before.generation)} if before else {}
        self._events.append(ObjectEvent("OBJECT_FINALIZE", after, replaced))
        return after

    def get(self, access: Access, ref: ObjectRef) -> ObjectRecord:
        """Return an object; a caller who may not list gets 403 for one that does not exist."""
        access.require("storage.objects.get", ref.bucket, ref.name)
        try:
            found = self._find(ref)
        except NotFound:
            if not access.allows("storage.objects.list", ref.bucket, prefix=ref.name):
                raise access.denial("storage.objects.get") from None
            raise
        ref.conditions.check_read(found)
        return found

    def get_soft_deleted(self, access: Access, ref: ObjectRef) -> ObjectRecord:
        """Return a soft-deleted object, which needs its generation."""
        access.require("storage.objects.get", ref.bucket, ref.name)
        access.require("storage.objects.restore", ref.bucket, ref.name)
        found = self._find_soft_deleted(ref)
        ref.conditions.check_read(found)
        return found

    def restore(self, access: Access, ref: ObjectRef) -> ObjectRecord:
        """Make a soft-deleted object live again, as a new generation; it stays restorable.

        The preconditions are on the live object that it would replace.
        """
        access.require("storage.objects.restore", ref.bucket, ref.name)
        found = self._find_soft_deleted(ref)
        draft = ObjectDraft(ref.bucket, ref.name, found.fields, ref.conditions)
        self.begin(access, draft)
        content = replace(found.content, blob=self._blobs.duplicate(found.content.blob))
        return self.insert(access, draft, content)

    def purge(self) -> None:
        """Delete the soft-deleted objects whose time has passed."""
        for blob in self._catalogue.drop_soft_deleted(before=self._clock.now()):
            self._blobs.delete(blob)

    def open(self, found: ObjectRecord) -> BinaryIO:
        """Open the bytes of `found`, which stay readable when it is overwritten meanwhile."""
        return self._blobs.open(found.content.blob)

    def listing(self, access: Access, bucket: str, request: ListRequest) -> ObjectPage:
        access.require("storage.objects.list", bucket, prefix=request.prefix)
        if not self._catalogue.has_bucket(bucket):
            raise NoSuchBucket
        return page(self._catalogue, bucket, request, now=self._clock.now())

    def patch(
        self, access: Access, ref: ObjectRef, resource: Mapping[str, Any], *, whole: bool = False
    ) -> ObjectRecord:
        """Change metadata by a merge patch, or replace all of it when `whole`."""
        access.require("storage.objects.update", ref.bucket, ref.name)
        with self.change():
            before = self._find(ref)
            ref.conditions.check(before)
            fields = object_fields(resource if whole else merged(before.fields, resource))
            _check_update(before.fields, fields)
            fields.setdefault("storageClass", before.fields.get("storageClass", "STANDARD"))
            released = before.fields.get("eventBasedHold") and not fields.get("eventBasedHold")
            now = self._clock.now()
            after = replace(
                before,
                fields=fields,
                metageneration=before.metageneration + 1,
                updated=now,
                retained_from=now if released else before.retained_from,
            )
            self._catalogue.save(after)
            self._events.append(ObjectEvent("OBJECT_METADATA_UPDATE", after))
            return after

    def delete(self, access: Access, ref: ObjectRef) -> None:
        access.require("storage.objects.delete", ref.bucket, ref.name)
        with self.change() as displaced:
            found = self._find(ref)
            ref.conditions.check(found)
            bucket = self._catalogue.bucket(ref.bucket)
            self._check_protection(found, bucket)
            versioned = bucket is not None and bucket.versioned
            self._retire(found, displaced, keep=versioned and ref.generation is None)

    def expire(self, item: ObjectRecord) -> bool:
        """Delete a version as a lifecycle rule does; return whether it was not protected.

        A live one becomes noncurrent where the bucket keeps versions.
        """
        with self.change() as displaced:
            bucket = self._catalogue.bucket(item.bucket)
            try:
                self._check_protection(item, bucket)
            except PermissionDenied:
                return False
            self._retire(item, displaced, keep=bucket is not None and bucket.versioned)
            return True

    def reclass(self, item: ObjectRecord, storage_class: str) -> None:
        """Change the storage class of a version as a lifecycle rule does."""
        self._catalogue.save(
            replace(
                item,
                fields={**item.fields, "storageClass": storage_class},
                metageneration=item.metageneration + 1,
                reclassed=self._clock.now(),
            )
        )

    def copy(
        self, access: Access, source: ObjectRef, draft: ObjectDraft, *, move: bool = False
    ) -> ObjectRecord:
        """Copy an object; a `draft` without fields takes those of the source, except holds."""
        found = self.get(access, replace(source, conditions=ANY))
        source.conditions.check(found)
        self.begin(access, draft)
        if move:
            access.require("storage.objects.delete", source.bucket, source.name)
        content = replace(found.content, blob=self._blobs.duplicate(found.content.blob))
        with self.change(content) as displaced:
            kept = () if move else _NOT_COPIED
            inherited = {key: found.fields[key] for key in found.fields if key not in kept}
            fields = draft.fields or inherited
            copied = self.place(access, replace(draft, fields=fields), content, displaced)
            if move and (source.bucket, source.name) != (draft.bucket, draft.name):
                self._check_protection(found, self._catalogue.bucket(source.bucket))
                self._retire(found, displaced, keep=False)
            return copied

    async def compose(
        self, access: Access, sources: Sequence[ObjectRef], draft: ObjectDraft
    ) -> ObjectRecord:
        """Join up to 32 objects of one bucket."""
        if not 1 <= len(sources) <= 32:
            raise InvalidArgument(
                "The number of source components provided "
                f"({len(sources)}) must be between 1 and 32."
            )
        self.begin(access, draft)
        found = [self.get(access, replace(source, conditions=ANY)) for source in sources]
        for source, item in zip(sources, found, strict=True):
            source.conditions.check(item)
        # The sources may be deleted while a thread reads them: hold them by names of our own.
        held = [self._blobs.duplicate(item.content.blob) for item in found]
        components = sum(max(1, item.content.components) for item in found)
        try:
            content = await asyncio.to_thread(self._blobs.join, held, components=components)
        finally:
            for blob in held:
                self._blobs.delete(blob)
        return self.insert(access, draft, content)

    def _find(self, ref: ObjectRef) -> ObjectRecord:
        if ref.generation is None:
            found = self._catalogue.live(ref.bucket, ref.name)
        else:
            found = self._catalogue.object(ref.bucket, ref.name, ref.generation)
        if found is None:
            if not self._catalogue.has_bucket(ref.bucket):
                raise NoSuchBucket
            raise NotFound(f"No such object: {ref.bucket}/{ref.name}")
        return found

    def _find_soft_deleted(self, ref: ObjectRef) -> ObjectRecord:
        if not self._catalogue.has_bucket(ref.bucket):
            raise NoSuchBucket
        if ref.generation is None:
            raise InvalidArgument("Required parameter: generation, of the soft-deleted object.")
        kept = self._catalogue.soft_deleted(
            ref.bucket, start=ref.name, end=f"{ref.name}\0", now=self._clock.now()
        )
        found = next((item for item in kept if item.generation == ref.generation), None)
        if found is None:
            raise NotFound(f"No such object: {ref.bucket}/{ref.name}")
        return found

    def _check_overwrite(self, access: Access, draft: ObjectDraft) -> ObjectRecord | None:
        """Return the live object that `draft` replaces; the caller must be allowed to delete it."""
        before = self._catalogue.live(draft.bucket, draft.name)
        draft.conditions.check(before)
        if before:
            access.require("storage.objects.delete", draft.bucket, draft.name)
            self._check_protection(before, self._catalogue.bucket(draft.bucket))
        return before

    def _check_protection(self, item: ObjectRecord, bucket: BucketRecord | None) -> None:
        """Raise PermissionDenied if a hold or the retention policy protects `item`."""
        name = f"Object '{item.bucket}/{item.name}'"
        kept = "cannot be deleted, overwritten or archived until"
        for field_name, hold in (("eventBasedHold", "Event-Based"), ("temporaryHold", "Temporary")):
            if item.fields.get(field_name):
                raise PermissionDenied(
                    f"{name} is under active {hold} hold and {kept} hold is removed."
                )
        until = bucket.retained_until(item) if bucket else 0.0
        if self._clock.now() < until:
            raise PermissionDenied(
                f"{name} is subject to bucket's retention policy and {kept} {timestamp(until)}"
            )

    def _retire(
        self, item: ObjectRecord, displaced: list[str], *, keep: bool, successor: int = 0
    ) -> None:
        """Make an object noncurrent (`keep`), or remove it; `successor` has overwritten it."""
        replaced = {"overwrittenByGeneration": str(successor)} if successor else {}
        if keep and not item.deleted:
            archived = replace(item, deleted=self._clock.now())
            self._catalogue.save(archived)
            self._events.append(ObjectEvent("OBJECT_ARCHIVE", archived, replaced))
            return
        self._catalogue.drop(item)
        bucket = self._catalogue.bucket(item.bucket)
        if bucket and bucket.soft_delete_seconds:
            now = self._clock.now()
            ends = now + bucket.soft_delete_seconds
            self._catalogue.save_soft_deleted(replace(item, soft_deleted=now, hard_deleted=ends))
        else:
            displaced.append(item.content.blob)
        self._events.append(ObjectEvent("OBJECT_DELETE", item, replaced))


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


def _check_update(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse changes of metadata that Google refuses. Raises InvalidArgument."""
    known = before.get("storageClass", "STANDARD")
    if after.get("storageClass", known) != known:
        raise InvalidArgument("The storage class of an object can be changed by a rewrite only.")
    if "customTime" in before and after.get("customTime", "") < before["customTime"]:
        raise InvalidArgument("Custom time cannot be removed or set to an earlier time.")
