"""The pass that applies the lifecycle rules of all buckets, each hour of the cloud's clock.

It also deletes the soft-deleted objects whose time has passed.

Google may take a day until a rule acts; the hour is our own rule. An object under a hold or a
retention policy is left alone until a later pass.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from itertools import groupby, islice

from devenv.gcp.clock import Clock
from devenv.gcp.storage.blobs import Blobs
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.lifecycle import (
    DELETE,
    VersionFacts,
    aborts_upload,
    action_for,
    rules_of,
)
from devenv.gcp.storage.model import BucketRecord, ObjectContent, ObjectRecord
from devenv.gcp.storage.objects import Objects

INTERVAL = 3600.0
_NAMES = 500  # at a time, between which other requests are answered
_NOTHING = ObjectContent(blob="", size=0, crc32c="")

log = logging.getLogger(__name__)


class StorageHousekeeping:
    """Applies lifecycle rules and the end of soft-deleted objects from `start` to `stop`."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, objects: Objects, clock: Clock) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._objects = objects
        self._clock = clock
        self._passes: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._passes = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._passes:
            self._passes.cancel()
            await asyncio.gather(self._passes, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._pass()
            except Exception:
                log.exception("The lifecycle rules were not applied; the next pass is in an hour")
            await self._clock.sleep(INTERVAL)

    async def _pass(self) -> None:
        self._objects.purge()
        for bucket in self._catalogue.buckets(start="", prefix="", limit=-1):
            if not rules_of(bucket):
                continue
            for versions in self._names(bucket.name):
                self._apply(bucket, versions)
                await asyncio.sleep(0)
            self._abort_uploads(bucket)

    def _names(self, bucket: str) -> Iterator[list[list[ObjectRecord]]]:
        """Yield the versions of each name, the newest first, some names at a time."""
        start = ""
        while True:
            found = self._catalogue.scan(bucket, start=start, end="", versions=True)
            names = groupby(found, key=lambda item: item.name)
            some = [list(versions)[::-1] for _, versions in islice(names, _NAMES)]
            if not some:
                return
            start = some[-1][0].name + "\0"
            yield some

    def _apply(self, bucket: BucketRecord, names: list[list[ObjectRecord]]) -> None:
        now, rules = self._clock.now(), rules_of(bucket)
        for versions in names:
            for newer, item in enumerate(versions):
                action = action_for(rules, VersionFacts(item, newer, now))
                if action == DELETE and self._objects.expire(item):
                    log.info("Deleted %s/%s#%d by a rule", item.bucket, item.name, item.generation)
                elif action and action != DELETE:
                    self._objects.reclass(item, action)

    def _abort_uploads(self, bucket: BucketRecord) -> None:
        now = self._clock.now()
        for upload_id, created, value in self._catalogue.multipart_uploads():
            values = json.loads(value)
            if values["bucket"] != bucket.name:
                continue
            draft = ObjectRecord(bucket.name, values["name"], 0, _NOTHING, created, created)
            if any(aborts_upload(rule, draft, now) for rule in rules_of(bucket)):
                with self._catalogue.transaction():
                    parts = self._catalogue.drop_parts(upload_id)
                    self._catalogue.drop_session(upload_id)
                for part in parts:
                    self._blobs.delete(part.content.blob)
