"""The rules of buckets.

After https://cloud.google.com/storage/docs/json_api/v1/buckets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.errors import AlreadyExists
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.errors import NoSuchBucket, PreconditionFailed
from devenv.gcp.storage.fields import bucket_fields, patched_bucket
from devenv.gcp.storage.listing import make_token
from devenv.gcp.storage.model import Bucket
from devenv.gcp.storage.names import check_bucket_name


class Buckets:
    """Makes, finds, changes and removes buckets."""

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock

    def ensure(self, names: Iterable[str]) -> None:
        """Make those of `names` that are not there yet."""
        for name in names:
            check_bucket_name(name)
            if not self._catalogue.has_bucket(name):
                self._save(name, {})

    def create(self, access: Access, resource: Mapping[str, Any]) -> Bucket:
        access.require("storage.buckets.create")
        name = str(resource.get("name", ""))
        check_bucket_name(name)
        if self._catalogue.has_bucket(name):
            raise AlreadyExists(
                "Your previous request to create the named bucket succeeded and you already own it."
            )
        return self._save(name, bucket_fields(resource))

    def get(self, access: Access, name: str, metageneration: int | None = None) -> Bucket:
        access.require("storage.buckets.get", name)
        return self._find(name, metageneration)

    def listing(
        self, access: Access, *, start: str, prefix: str, limit: int
    ) -> tuple[list[Bucket], str]:
        """Return one page and the token of the next, which is empty on the last."""
        access.require("storage.buckets.list")
        found = self._catalogue.buckets(start=start, prefix=prefix, limit=limit + 1)
        token = make_token(found[limit].name) if len(found) > limit else ""
        return found[:limit], token

    def patch(
        self,
        access: Access,
        name: str,
        resource: Mapping[str, Any],
        *,
        metageneration: int | None = None,
    ) -> Bucket:
        access.require("storage.buckets.update", name)
        before = self._find(name, metageneration)
        after = replace(
            before,
            fields=patched_bucket(before.fields, resource),
            metageneration=before.metageneration + 1,
            updated=self._clock.now(),
        )
        self._catalogue.save_bucket(after)
        return after

    def delete(self, access: Access, name: str, metageneration: int | None = None) -> None:
        access.require("storage.buckets.delete", name)
        self._find(name, metageneration)
        if not self._catalogue.empty(name):
            raise AlreadyExists("The bucket you tried to delete is not empty.")
        self._catalogue.drop_bucket(name)

    def _find(self, name: str, metageneration: int | None) -> Bucket:
        bucket = self._catalogue.bucket(name)
        if bucket is None:
            raise NoSuchBucket
        if metageneration not in (None, bucket.metageneration):
            raise PreconditionFailed
        return bucket

    def _save(self, name: str, fields: Mapping[str, Any]) -> Bucket:
        now = self._clock.now()
        bucket = Bucket(name, now, now, fields=fields)
        self._catalogue.save_bucket(bucket)
        return bucket
