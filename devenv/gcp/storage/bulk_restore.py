"""Restoring many soft-deleted objects at once, and the long-running operations that do it.

An operation restores the newest soft-deleted version of each name that its request selects, with the
rights of its caller; a name that has a live object is skipped unless the request allows to overwrite
it. One that a stop interrupts has failed at the next start. Operations go with their bucket.

See https://cloud.google.com/storage/docs/json_api/v1/objects/bulkRestore and
https://cloud.google.com/storage/docs/json_api/v1/buckets.operations.
"""

import asyncio
import datetime as dt
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, Self

from starlette.responses import Response

from devenv.gcp.clock import Clock
from devenv.gcp.errors import CloudError, InvalidArgument, NotFound
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.buckets import Buckets
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.drafts import ObjectRef
from devenv.gcp.storage.errors import NotEmulated
from devenv.gcp.storage.exchange import Exchange, answer
from devenv.gcp.storage.listing import NameTest, glob_test, make_token, read_token
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import Preconditions, number
from devenv.gcp.storage.resources import timestamp
from devenv.gcp.store import Store, write_at_last

_PIECE = 20  # names between two turns of other calls
_MOST_KEPT = 1000  # operations of a bucket that are done
_MOST_GLOBS = 100
_MOST_PAGE = 100
_MEMBERS = (
    *("allowOverwrite", "copySourceAcl", "matchGlobs", "softDeletedAfterTime"),
    "softDeletedBeforeTime",
)
_ABORTED, _CANCELLED, _INTERNAL = 10, 1, 13  # google.rpc.Code
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """The objects that an operation restores; moments are in Unix seconds."""

    globs: tuple[NameTest, ...] = ()
    after: float = 0.0
    before: float = float("inf")
    overwrite: bool = False
    copy_acl: bool = False

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Read a request. Raises InvalidArgument."""
        for name in body:
            if name not in _MEMBERS:
                raise NotEmulated(f"The field '{name[:100]}'")
        globs = body.get("matchGlobs") or []
        if not isinstance(globs, list) or len(globs) > _MOST_GLOBS:
            raise InvalidArgument(f"matchGlobs must be a list of at most {_MOST_GLOBS} texts.")
        flags = (body.get("allowOverwrite", False), body.get("copySourceAcl", False))
        if not all(isinstance(each, bool) for each in flags):
            raise InvalidArgument("allowOverwrite and copySourceAcl must be true or false.")
        return cls(
            tuple(glob_test(str(each)) for each in globs),
            _moment(body, "softDeletedAfterTime", 0.0),
            _moment(body, "softDeletedBeforeTime", float("inf")),
            *flags,
        )

    def selects(self, item: ObjectRecord) -> bool:
        is_named = not self.globs or any(glob(item.name) for glob in self.globs)
        return is_named and self.after < item.soft_deleted < self.before


@dataclass(frozen=True, slots=True)
class BucketOperation:
    """An operation of a bucket; `error` is a google.rpc.Status once it has failed."""

    bucket: str
    id: str
    created: float
    updated: float
    done: bool = False
    restored: int = 0
    failed: int = 0
    skipped: int = 0
    error: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.bucket}/{self.id}"

    def dump(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def resource(self, base: str) -> dict[str, Any]:
        common = {"createTime": timestamp(self.created), "updateTime": timestamp(self.updated)}
        if self.done:
            common["endTime"] = timestamp(self.updated)
        counts = {"succeeded": self.restored, "failed": self.failed, "skipped": self.skipped}
        place = f"buckets/{self.bucket}/operations/{self.id}"
        resource: dict[str, Any] = {
            "kind": "storage#operation",
            "name": f"projects/_/{place}",
            "selfLink": f"{base}/storage/v1/b/{self.bucket}/operations/{self.id}",
            "done": self.done,
            "metadata": {
                "@type": "type.googleapis.com/google.storage.v1.BulkRestoreObjectsMetadata",
                "commonMetadata": {**common, "type": "bulk-restore-objects"},
                **{f"{name}Count": str(count) for name, count in counts.items()},
            },
        }
        if self.error:
            resource["error"] = dict(self.error)
        elif self.done:
            kind = "type.googleapis.com/google.storage.v1.BulkRestoreObjectsResponse"
            resource["response"] = {"@type": kind}
        return resource


class BulkRestores:
    """The handlers, and the operations in progress."""

    def __init__(
        self, store: Store, catalogue: Catalogue, buckets: Buckets, objects: Objects, clock: Clock
    ) -> None:
        self._table = store.table("storage_operations")
        self._catalogue = catalogue
        self._buckets = buckets
        self._objects = objects
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """End the operations that the last stop interrupted."""
        for operation in list(self._all("")):
            if not operation.done:
                self._end(operation, _ABORTED, "The emulated cloud was stopped meanwhile.")

    async def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def forget(self, bucket: str) -> None:
        """Remove the operations of a deleted bucket."""
        for operation in list(self._all(f"{bucket}/")):
            if task := self._running.pop(operation.key, None):
                task.cancel()
            self._table.delete(operation.key)

    def _forget_oldest(self, bucket: str) -> None:
        done = sorted(
            (each for each in self._all(f"{bucket}/") if each.done), key=attrgetter("updated")
        )
        for operation in done[: 1 - _MOST_KEPT]:
            self._table.delete(operation.key)

    async def begin(self, exchange: Exchange, bucket: str) -> Response:
        request = RestoreRequest.of(await exchange.json())
        for verb in ("restore", "create", *(["delete"] if request.overwrite else [])):
            exchange.access.require(f"storage.objects.{verb}", bucket)
        self._buckets.find(bucket)
        self._forget_oldest(bucket)
        now = self._clock.now()
        operation = BucketOperation(bucket, uuid.uuid4().hex, now, now)
        self._save(operation)
        task = asyncio.create_task(self._attend(operation, request, exchange.access))
        self._running[operation.key] = task
        task.add_done_callback(lambda _: self._running.pop(operation.key, None))
        return answer(operation.resource(exchange.shapes.base))

    async def get(self, exchange: Exchange, bucket: str, name: str) -> Response:
        found = self._find(exchange, bucket, name, "get")
        return answer(found.resource(exchange.shapes.base))

    async def listing(self, exchange: Exchange, bucket: str) -> Response:
        exchange.access.require("storage.bucketOperations.list", bucket)
        self._buckets.find(bucket)
        query = exchange.query
        if query.get("filter"):
            raise NotEmulated("The parameter 'filter'")
        size = min(number(query.get("pageSize", _MOST_PAGE), "pageSize"), _MOST_PAGE) or _MOST_PAGE
        start, _ = read_token(query.get("pageToken", ""))
        found = [each for each in self._all(f"{bucket}/") if each.id >= start]
        page: dict[str, Any] = {"kind": "storage#operations"}
        page["operations"] = [each.resource(exchange.shapes.base) for each in found[:size]]
        if len(found) > size:
            page["nextPageToken"] = make_token(found[size].id)
        return answer(page)

    async def cancel(self, exchange: Exchange, bucket: str, name: str) -> Response:
        """Stop an operation; what it has restored stays, and one that is done stays as it is."""
        found = self._find(exchange, bucket, name, "cancel")
        if task := self._running.pop(found.key, None):
            task.cancel()
            if not found.done:
                self._end(found, _CANCELLED, "The operation was cancelled.")
        return Response(status_code=204)

    async def _attend(
        self, operation: BucketOperation, request: RestoreRequest, access: Access
    ) -> None:
        try:
            await self._run(operation, request, access)
        except Exception:
            log.exception("Objects of %s were not restored", operation.bucket)
            last = self._load(operation.key) or operation
            end = partial(self._end, last, _INTERNAL, "Internal error.")
            await write_at_last(operation.key, end, self._clock)

    async def _run(
        self, operation: BucketOperation, request: RestoreRequest, access: Access
    ) -> None:
        position = ""
        while names := self._names(operation.bucket, position):
            for name in names:
                outcome = self._restore(operation.bucket, name, request, access)
                if outcome:
                    count = getattr(operation, outcome) + 1
                    operation = replace(operation, **{outcome: count})
            position = f"{names[-1]}\0"
            operation = replace(operation, updated=self._clock.now())
            self._save(operation)
            await asyncio.sleep(0)
        self._save(replace(operation, done=True, updated=self._clock.now()))

    def _names(self, bucket: str, start: str) -> list[str]:
        """Return the next names that have soft-deleted versions."""
        kept = self._catalogue.soft_deleted(bucket, start=start, end="", now=self._clock.now())
        return list(dict.fromkeys(item.name for item in islice(kept, _PIECE)))

    def _restore(self, bucket: str, name: str, request: RestoreRequest, access: Access) -> str:
        """Restore one name; return the count to which it belongs, none if it is not selected."""
        versions = self._catalogue.soft_deleted(
            bucket, start=name, end=f"{name}\0", now=self._clock.now()
        )
        generations = [item.generation for item in versions if request.selects(item)]
        if not generations:
            return ""
        if not request.overwrite and self._catalogue.live(bucket, name):
            return "skipped"
        # A live object that comes meanwhile is not overwritten either.
        conditions = Preconditions(generation=None if request.overwrite else 0)
        ref = ObjectRef(bucket, name, generations[-1], conditions)
        try:
            self._objects.restore(access, ref, copy_acl=request.copy_acl)
        except CloudError as error:
            log.warning("%s/%s was not restored: %s", bucket, name, error)
            return "failed"
        return "restored"

    def _find(self, exchange: Exchange, bucket: str, name: str, verb: str) -> BucketOperation:
        exchange.access.require(f"storage.bucketOperations.{verb}", bucket)
        self._buckets.find(bucket)
        if (found := self._load(f"{bucket}/{name}")) is None:
            raise NotFound(f"The operation {name[:100]} does not exist.")
        return found

    def _load(self, key: str) -> BucketOperation | None:
        value = self._table.get(key)
        return BucketOperation(**json.loads(value)) if value else None

    def _all(self, prefix: str) -> Iterator[BucketOperation]:
        for _, value in self._table.scan(prefix):
            yield BucketOperation(**json.loads(value))

    def _end(self, operation: BucketOperation, code: int, message: str) -> None:
        error = {"code": code, "message": message}
        self._save(replace(operation, done=True, updated=self._clock.now(), error=error))

    def _save(self, operation: BucketOperation) -> None:
        self._table.put(operation.key, operation.dump())


def _moment(body: Mapping[str, Any], name: str, default: float) -> float:
    """Return a time with its zone as Unix seconds. Raises InvalidArgument."""
    if body.get(name) is None:
        return default
    try:
        moment = dt.datetime.fromisoformat(body[name])
        seconds = moment.timestamp() if moment.tzinfo else None
    except (OverflowError, TypeError, ValueError):
        seconds = None
    if seconds is None:
        raise InvalidArgument(
            f"Invalid value '{str(body[name])[:60]}' for field '{name}'; it looks like "
            "2027-01-31T12:00:00Z."
        )
    return seconds
