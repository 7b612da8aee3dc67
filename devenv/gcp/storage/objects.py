"""The rules of objects: writes, reads, changes, deletions, copies and compositions.

Every change is one transaction that looks at the live object, checks permissions, preconditions,
holds and retention against it, and writes; files that it displaces are deleted after the commit,
and rows with bytes in it. An object that is under a hold, or younger than its bucket's retention
period, can be neither deleted nor overwritten nor made a noncurrent version; its metadata can be
changed. The retention period of an object that had an event-based hold counts from the release of
the hold.

Where the bucket has a soft delete policy, an object that is removed is kept aside with its bytes
until the policy's duration has passed; a restored one is a new live object with the same bytes.

See https://cloud.google.com/storage/docs/json_api/v1/objects,
https://cloud.google.com/storage/docs/object-holds and
https://cloud.google.com/storage/docs/soft-delete.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, NotFound, PermissionDenied
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.acl import OWNER, AccessLists, Acl, as_entries
from devenv.gcp.storage.blobs import Blobs, ReceivedBytes
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.drafts import (
    NO_LIST,
    ObjectDraft,
    ObjectRef,
    WantedList,
    check_protection,
    check_sums,
    check_update,
)
from devenv.gcp.storage.errors import NoSuchBucket, UniformAccess
from devenv.gcp.storage.fields import merged, object_fields
from devenv.gcp.storage.listing import ListRequest, ObjectPage, page
from devenv.gcp.storage.model import (
    BucketRecord,
    ObjectContent,
    ObjectRecord,
    check_object_name,
)
from devenv.gcp.storage.notifications import Notifications, ObjectEvent
from devenv.gcp.storage.parameters import UNCONDITIONAL

_NOT_COPIED = ("eventBasedHold", "storageClass", "temporaryHold")


class Objects:
    """Writes, reads, changes and removes objects."""

    def __init__(
        self,
        catalogue: Catalogue,
        blobs: Blobs,
        clock: Clock,
        lists: AccessLists,
        *,
        notifications: Notifications,
    ) -> None:
        self._lists = lists
        self._catalogue = catalogue
        self._blobs = blobs
        self._clock = clock
        self._notifications = notifications
        self._events: list[ObjectEvent] = []  # of the transaction that goes on

    def begin(self, access: Access, draft: ObjectDraft) -> None:
        """Refuse before many bytes arrive what `insert` would refuse now."""
        self._check_new(access, draft)
        self._check_overwrite(access, draft)

    def _check_new(self, access: Access, draft: ObjectDraft) -> None:
        check_object_name(draft.name)
        access.require("storage.objects.create", draft.bucket, draft.name)
        bucket = self._catalogue.bucket(draft.bucket)
        if bucket is None:
            raise NoSuchBucket
        self._acl_of(draft, bucket)

    def insert(self, access: Access, draft: ObjectDraft, received: ReceivedBytes) -> ObjectRecord:
        """Make what has arrived the live object; if that is refused, its file is deleted."""
        with self.change(received.content) as displaced:
            self._check_new(access, draft)
            return self.place(access, draft, received, displaced)

    @contextmanager
    def change(self, content: ObjectContent | None = None) -> Iterator[list[str]]:
        """Run one transaction; yield a list for the blobs that it displaces."""
        displaced: list[str] = []
        try:
            with self._catalogue.transaction():
                yield displaced
                self._blobs.delete_rows(displaced)
                self._notifications.note(self._events)
        except BaseException:
            if content and content.blob:
                self._blobs.delete(content.blob)
            raise
        finally:
            self._events.clear()
        if displaced:
            self._blobs.delete_files(displaced)
        self._notifications.outbox.publish()

    def place(
        self, access: Access, draft: ObjectDraft, received: ReceivedBytes, displaced: list[str]
    ) -> ObjectRecord:
        """Write the object inside a `change`; preconditions are decided here, before any write."""
        check_sums(draft, received.content)
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
            content=self._blobs.keep(received),
            created=now,
            updated=now,
            fields={**defaults, **draft.fields},
            owner="" if bucket.uniform else access.caller.email,
            acl=self._acl_of(draft, bucket),
        )
        self._catalogue.save(after)
        replaced = {"overwroteGeneration": str(before.generation)} if before else {}
        self._events.append(ObjectEvent("OBJECT_FINALIZE", after, replaced))
        return after

    def get(self, access: Access, ref: ObjectRef) -> ObjectRecord:
        """Return an object; a caller who may not list gets 403 for one that does not exist."""
        ref.require(access, "storage.objects.get")
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
        ref.require(access, "storage.objects.get")
        access.require("storage.objects.restore", ref.bucket, ref.name)
        found = self._find_soft_deleted(ref)
        ref.conditions.check_read(found)
        return found

    def restore(self, access: Access, ref: ObjectRef, *, copy_acl: bool = False) -> ObjectRecord:
        """Make a soft-deleted object live again, as a new generation; it stays restorable.

        The preconditions are on the live object that it would replace. It gets the default access
        control list, or with `copy_acl` its own.
        """
        access.require("storage.objects.restore", ref.bucket, ref.name)
        found = self._find_soft_deleted(ref)
        entries = as_entries(found.acl) if copy_acl and found.acl is not None else None
        draft = ObjectDraft(ref.bucket, ref.name, found.fields, ref.conditions, entries=entries)
        self.begin(access, draft)
        content = replace(found.content, blob=self._blobs.duplicate(found.content.blob))
        return self.insert(access, draft, ReceivedBytes(content))

    def purge(self) -> None:
        """Delete the soft-deleted objects whose time has passed."""
        self._blobs.delete(*self._catalogue.drop_soft_deleted(before=self._clock.now()))

    def open(self, found: ObjectRecord) -> BinaryIO:
        """Open the bytes of `found`, which stay readable when it is overwritten meanwhile."""
        return self._blobs.open(found.content.blob)

    def listing(self, access: Access, bucket: str, request: ListRequest) -> ObjectPage:
        access.require("storage.objects.list", bucket, prefix=request.prefix)
        if self._catalogue.bucket(bucket) is None:
            raise NoSuchBucket
        return page(self._catalogue, bucket, request, now=self._clock.now())

    def patch(
        self,
        access: Access,
        ref: ObjectRef,
        resource: Mapping[str, Any],
        *,
        whole: bool = False,
        wanted: WantedList = NO_LIST,
    ) -> ObjectRecord:
        """Change metadata by a merge patch, or all of it when `whole`, and the list to `wanted`."""
        ref.require(access, "storage.objects.update")
        with self.change():
            before = self._find(ref)
            ref.conditions.check(before)
            fields = object_fields(resource if whole else merged(before.fields, resource))
            check_update(before.fields, fields)
            fields.setdefault("storageClass", before.fields.get("storageClass", "STANDARD"))
            released = before.fields.get("eventBasedHold") and not fields.get("eventBasedHold")
            now = self._clock.now()
            after = replace(
                before,
                fields=fields,
                metageneration=before.metageneration + 1,
                updated=now,
                retained_from=now if released else before.retained_from,
                acl=self._new_acl(access, before, wanted),
            )
            self._catalogue.save(after)
            self._events.append(ObjectEvent("OBJECT_METADATA_UPDATE", after))
            return after

    def read_acl(self, access: Access, ref: ObjectRef) -> tuple[ObjectRecord, Acl]:
        """Return an object and its access control list. Raises UniformAccess."""
        ref.require(access, "storage.objects.getIamPolicy")
        bucket = self._with_lists(ref, "get")
        found = self._find(ref)
        ref.conditions.check_read(found)
        return found, self._lists.of_object(bucket, found)

    def set_acl(
        self, access: Access, ref: ObjectRef, change: Callable[[dict[str, str]], object]
    ) -> ObjectRecord:
        """Let `change` change the access control list of an object; it counts a metageneration."""
        ref.require(access, "storage.objects.setIamPolicy")
        with self.change():
            bucket = self._with_lists(ref, "update")
            before = self._find(ref)
            ref.conditions.check(before)
            acl = dict(self._lists.of_object(bucket, before))
            change(acl)
            owner = self._lists.owner_of(before)
            if acl.get(owner) != OWNER:
                raise InvalidArgument(
                    f"The owner of the object, {owner}, must keep the role OWNER."
                )
            after = replace(
                before,
                acl=self._lists.checked(bucket, acl),
                metageneration=before.metageneration + 1,
                updated=self._clock.now(),
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
            check_protection(found, bucket, self._clock.now())
            versioned = bucket is not None and bucket.versioned
            self._retire(found, displaced, keep=versioned and ref.generation is None)

    def expire(self, item: ObjectRecord) -> bool:
        """Delete a version as a lifecycle rule does; return whether it was not protected.

        A live one becomes noncurrent where the bucket keeps versions.
        """
        with self.change() as displaced:
            bucket = self._catalogue.bucket(item.bucket)
            try:
                check_protection(item, bucket, self._clock.now())
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
        found = self.get(access, replace(source, conditions=UNCONDITIONAL))
        source.conditions.check(found)
        self.begin(access, draft)
        if move:
            access.require("storage.objects.delete", source.bucket, source.name)
        content = replace(found.content, blob=self._blobs.duplicate(found.content.blob))
        with self.change(content) as displaced:
            kept = () if move else _NOT_COPIED
            inherited = {key: found.fields[key] for key in found.fields if key not in kept}
            draft = replace(draft, fields=draft.fields or inherited)
            copied = self.place(access, draft, ReceivedBytes(content), displaced)
            if move and (source.bucket, source.name) != (draft.bucket, draft.name):
                check_protection(found, self._catalogue.bucket(source.bucket), self._clock.now())
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
        found = [self.get(access, replace(source, conditions=UNCONDITIONAL)) for source in sources]
        for source, item in zip(sources, found, strict=True):
            source.conditions.check(item)
        files = [self.open(item) for item in found]
        components = sum(max(1, item.content.components) for item in found)
        content = await asyncio.to_thread(self._blobs.join, files, components=components)
        return self.insert(access, draft, ReceivedBytes(content))

    def _acl_of(self, draft: ObjectDraft, bucket: BucketRecord) -> Acl | None:
        """Return the list of a new object; None under uniform access."""
        if not self._lists.is_wanted(bucket, draft.entries, draft.predefined):
            return None if bucket.uniform else self._lists.default_of(bucket)
        return self._lists.for_objects(bucket, draft.entries, draft.predefined)

    def _with_lists(self, ref: ObjectRef, action: str) -> BucketRecord:
        bucket = self._catalogue.bucket(ref.bucket)
        if bucket is None:
            raise NoSuchBucket
        if bucket.uniform:
            raise UniformAccess(action)
        return bucket

    def _new_acl(self, access: Access, before: ObjectRecord, wanted: WantedList) -> Acl | None:
        bucket = self._catalogue.bucket(before.bucket)
        if bucket is None or not self._lists.is_wanted(bucket, *wanted):
            return before.acl
        ObjectRef(before.bucket, before.name, before.generation).require(
            access, "storage.objects.setIamPolicy"
        )
        return self._lists.for_objects(bucket, *wanted)

    def _find(self, ref: ObjectRef) -> ObjectRecord:
        found = self._catalogue.item(ref.bucket, ref.name, ref.generation)
        if found is None:
            if self._catalogue.bucket(ref.bucket) is None:
                raise NoSuchBucket
            raise NotFound(f"No such object: {ref.bucket}/{ref.name}")
        return found

    def _find_soft_deleted(self, ref: ObjectRef) -> ObjectRecord:
        if self._catalogue.bucket(ref.bucket) is None:
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
            check_protection(before, self._catalogue.bucket(draft.bucket), self._clock.now())
        return before

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
