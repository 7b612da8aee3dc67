"""The rules of objects: what a request may see and change, and when it is refused.

After https://cloud.google.com/storage/docs/json_api/v1/objects. Every change is one transaction
that looks at the live object, checks preconditions and permissions against it and writes.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.blobs import Blobs
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.conditions import Preconditions
from devenv.gcp.storage.errors import NoSuchBucket
from devenv.gcp.storage.fields import object_fields, patched_object
from devenv.gcp.storage.listing import Page, Wanted, page
from devenv.gcp.storage.model import Content, Object
from devenv.gcp.storage.names import check_object_name

ANY = Preconditions()


@dataclass(frozen=True, slots=True)
class Ref:
    """An object as a request names it; generation None is the live one."""

    bucket: str
    name: str
    generation: int | None = None
    conditions: Preconditions = ANY


@dataclass(frozen=True, slots=True)
class Draft:
    """An object about to be written; `crc32c` and `md5` are what its bytes must have, if given."""

    bucket: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    conditions: Preconditions = ANY
    crc32c: str = ""
    md5: str = ""


class Objects:
    """Writes, reads, changes and removes objects."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, clock: Clock) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._clock = clock

    def begin(self, access: Access, draft: Draft) -> None:
        """Refuse early, before its bytes arrive, what `place` would refuse now."""
        check_object_name(draft.name)
        access.require("storage.objects.create", draft.bucket, draft.name)
        if not self._catalogue.has_bucket(draft.bucket):
            raise NoSuchBucket
        self._check_overwrite(access, draft)

    def insert(self, access: Access, draft: Draft, content: Content) -> Object:
        """Make `content`, which is on disk, the live object. It is deleted if that is refused."""
        with self.change(content) as displaced:
            return self.place(access, draft, content, displaced)

    @contextmanager
    def change(self, content: Content | None = None) -> Iterator[list[str]]:
        """One transaction; yields a list for the files that are to be deleted when it is through."""
        displaced: list[str] = []
        try:
            with self._catalogue.transaction():
                yield displaced
        except BaseException:
            if content:
                self._blobs.delete(content.blob)
            raise
        for blob in displaced:
            self._blobs.delete(blob)

    def place(self, access: Access, draft: Draft, content: Content, displaced: list[str]) -> Object:
        """Write the object inside a `change`: the moment at which preconditions are decided."""
        check_sums(draft, content)
        bucket = self._catalogue.bucket(draft.bucket)
        if bucket is None:
            raise NoSuchBucket
        before = self._check_overwrite(access, draft)
        now = self._clock.now()
        if before:
            self._retire(before, displaced, keep=bucket.versioned)
        after = Object(
            bucket=draft.bucket,
            name=draft.name,
            generation=self._catalogue.next_generation(int(now * 1_000_000)),
            content=content,
            created=now,
            updated=now,
            fields=draft.fields,
        )
        self._catalogue.save(after)
        return after

    def get(self, access: Access, ref: Ref) -> Object:
        """Return an object. Who may not list is not told that it is missing, as at Google."""
        access.require("storage.objects.get", ref.bucket, ref.name)
        try:
            found = self._find(ref)
        except NotFound:
            if not access.allows("storage.objects.list", ref.bucket, prefix=ref.name):
                raise access.denial("storage.objects.get") from None
            raise
        ref.conditions.check_read(found)
        return found

    def open(self, found: Object) -> BinaryIO:
        """Open the bytes of `found`, which stay readable when it is overwritten meanwhile."""
        return self._blobs.open(found.content.blob)

    def listing(self, access: Access, bucket: str, wanted: Wanted) -> Page:
        access.require("storage.objects.list", bucket, prefix=wanted.prefix)
        if not self._catalogue.has_bucket(bucket):
            raise NoSuchBucket
        return page(self._catalogue, bucket, wanted)

    def patch(
        self, access: Access, ref: Ref, resource: Mapping[str, Any], *, whole: bool = False
    ) -> Object:
        """Change metadata by a merge patch, or replace all of it when `whole`."""
        access.require("storage.objects.update", ref.bucket, ref.name)
        with self.change():
            before = self._find(ref)
            ref.conditions.check(before)
            fields = object_fields(resource) if whole else patched_object(before.fields, resource)
            after = replace(
                before,
                fields=fields,
                metageneration=before.metageneration + 1,
                updated=self._clock.now(),
            )
            self._catalogue.save(after)
            return after

    def delete(self, access: Access, ref: Ref) -> None:
        access.require("storage.objects.delete", ref.bucket, ref.name)
        with self.change() as displaced:
            found = self._find(ref)
            ref.conditions.check(found)
            bucket = self._catalogue.bucket(ref.bucket)
            versioned = bucket is not None and bucket.versioned
            self._retire(found, displaced, keep=versioned and ref.generation is None)

    def copy(self, access: Access, source: Ref, draft: Draft, *, move: bool = False) -> Object:
        """Copy an object; `draft` without fields takes over those of the source."""
        found = self.get(access, replace(source, conditions=ANY))
        source.conditions.check(found)
        self.begin(access, draft)
        if move:
            access.require("storage.objects.delete", source.bucket, source.name)
        content = replace(found.content, blob=self._blobs.duplicate(found.content.blob))
        with self.change(content) as displaced:
            fields = draft.fields or found.fields
            copied = self.place(access, replace(draft, fields=fields), content, displaced)
            if move and (source.bucket, source.name) != (draft.bucket, draft.name):
                self._retire(found, displaced, keep=False)
            return copied

    async def compose(self, access: Access, sources: Sequence[Ref], draft: Draft) -> Object:
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

    def _find(self, ref: Ref) -> Object:
        if not self._catalogue.has_bucket(ref.bucket):
            raise NoSuchBucket
        if ref.generation is None:
            found = self._catalogue.live(ref.bucket, ref.name)
        else:
            found = self._catalogue.object(ref.bucket, ref.name, ref.generation)
        if found is None:
            raise NotFound(f"No such object: {ref.bucket}/{ref.name}")
        return found

    def _check_overwrite(self, access: Access, draft: Draft) -> Object | None:
        """Return the live object that `draft` replaces, which needs the right to delete it."""
        before = self._catalogue.live(draft.bucket, draft.name)
        draft.conditions.check(before)
        if before:
            access.require("storage.objects.delete", draft.bucket, draft.name)
        return before

    def _retire(self, item: Object, displaced: list[str], *, keep: bool) -> None:
        if keep and not item.deleted:
            self._catalogue.save(replace(item, deleted=self._clock.now()))
            return
        self._catalogue.drop(item)
        displaced.append(item.content.blob)


def check_sums(draft: Draft, content: Content) -> None:
    """Raise InvalidArgument if the bytes that arrived are not those that were sent."""
    for name, given, found in (
        ("CRC32C", draft.crc32c, content.crc32c),
        ("MD5 hash", draft.md5, content.md5),
    ):
        if given and found and given != found:
            raise InvalidArgument(
                f'Provided {name} "{given[:64]}" doesn\'t match calculated {name} "{found}".'
            )
