"""google.logging.v2.ConfigServiceV2: log buckets and views.

See https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.locations.buckets.
"""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from devenv.gcp.logging.buckets import (
    ACTIVE,
    ALL_LOGS,
    BUILT_IN,
    DEFAULT,
    DELETE_REQUESTED,
    REQUIRED,
    BucketName,
    LogBucket,
    LogBuckets,
    LogView,
)
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import every, masked, page, refuse_unemulated, set_moment
from devenv.gcp.rpc import HttpRule, Rpc

types = client_types("google.cloud.logging_v2")

_GRPC = "google.logging.v2.ConfigServiceV2"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_MOST, _MOST_VIEWS, _MOST_PAGE = 100, 30, 1000
_DAYS, _MOST_DAYS = 30, 3650
_BUCKET = every(
    *("name", "description", "retention_days", "locked"),
    *("create_time", "update_time", "lifecycle_state"),
)
_VIEW = every("name", "description", "filter", "create_time", "update_time")
Buckets: Any = types.ListBucketsResponse.pb()
Views: Any = types.ListViewsResponse.pb()


class LogBucketMethods:
    """The methods on the buckets and views of one project."""

    def __init__(
        self, config: CloudConfig, buckets: LogBuckets, clock: Clock, guard: Guard
    ) -> None:
        self._project = f"projects/{config.project}"
        self._buckets = buckets
        self._clock = clock
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        where = "projects/*/locations/*"
        one, many = f"/v2/{{name={where}/buckets/*}}", f"/v2/{{parent={where}}}/buckets"
        view, views = f"{one[:-1]}/views/*}}", f"/v2/{{parent={where}/buckets/*}}/views"
        empty = empty_pb2.Empty
        for name, response, handle, rule in (
            ("CreateBucket", LogBucket, self.create, HttpRule("POST", many, "bucket")),
            ("GetBucket", LogBucket, self.get, HttpRule("GET", one)),
            ("ListBuckets", Buckets, self.list, HttpRule("GET", many)),
            ("UpdateBucket", LogBucket, self.update, HttpRule("PATCH", one, "bucket")),
            ("DeleteBucket", empty, self.delete, HttpRule("DELETE", one)),
            ("UndeleteBucket", empty, self.undelete, HttpRule("POST", f"{one}:undelete", "*")),
            ("CreateView", LogView, self.create_view, HttpRule("POST", views, "view")),
            ("GetView", LogView, self.get_view, HttpRule("GET", view)),
            ("ListViews", Views, self.list_views, HttpRule("GET", views)),
            ("UpdateView", LogView, self.update_view, HttpRule("PATCH", view, "view")),
            ("DeleteView", empty, self.delete_view, HttpRule("DELETE", view)),
        ):
            request = getattr(types, f"{name}Request").pb()
            yield Rpc(f"{_GRPC}/{name}", request, response, handle, (rule,))

    async def create(self, request: Any, call: ApiCall) -> Any:
        name = BucketName(self._buckets.location(request.parent), request.bucket_id)
        self._allow(call, "buckets.create")
        _check_id("bucket_id", name.bucket)
        if name.location == "-":
            raise InvalidArgument("parent must name a location, for example global.")
        if self._buckets.find(name) is not None:
            raise AlreadyExists(f"Bucket {name.bucket} already exists in {name.location}.")
        if len(self._buckets.all("-")) - len(BUILT_IN) >= _MOST:
            raise FailedPrecondition(f"The project has {_MOST} log buckets already; delete some.")
        bucket = self._checked(request.bucket, name)
        set_moment(bucket.create_time, self._clock.now())
        bucket.update_time.CopyFrom(bucket.create_time)
        self._buckets.put(name, bucket)
        return bucket

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._existing(request.name, call, "buckets.get")[1]

    async def list(self, request: Any, call: ApiCall) -> Any:
        location = self._buckets.location(request.parent)
        self._allow(call, "buckets.list")
        found = self._buckets.all(location)
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_MOST_PAGE
        )
        return Buckets(buckets=[found[name] for name in names], next_page_token=token)

    async def update(self, request: Any, call: ApiCall) -> Any:
        name, before = self._changeable(request.name, call, "buckets.update")
        if name.bucket == REQUIRED:
            raise FailedPrecondition(f"The bucket {REQUIRED} is locked and cannot be changed.")
        if not request.update_mask.paths:
            raise InvalidArgument("update_mask is required, for example retention_days.")
        after = self._checked(masked(before, request.bucket, request.update_mask), name)
        if before.locked and (not after.locked or after.retention_days != before.retention_days):
            raise FailedPrecondition(
                f"Bucket {name.bucket} is locked: neither the lock nor retention_days can change."
            )
        after.create_time.CopyFrom(before.create_time)
        set_moment(after.update_time, self._clock.now())
        self._buckets.put(name, after)
        return after

    async def delete(self, request: Any, call: ApiCall) -> Any:
        name, bucket = self._changeable(request.name, call, "buckets.delete")
        if name.bucket in BUILT_IN:
            raise InvalidArgument(f"The bucket {name.bucket} cannot be deleted.")
        if bucket.locked:
            raise FailedPrecondition(f"Bucket {name.bucket} is locked and cannot be deleted.")
        bucket.lifecycle_state = DELETE_REQUESTED
        set_moment(bucket.update_time, self._clock.now())
        self._buckets.put(name, bucket)
        return empty_pb2.Empty()

    async def undelete(self, request: Any, call: ApiCall) -> Any:
        name, bucket = self._existing(request.name, call, "buckets.undelete")
        if bucket.lifecycle_state != DELETE_REQUESTED:
            raise FailedPrecondition(f"Bucket {name.bucket} is not deleted.")
        bucket.lifecycle_state = ACTIVE
        set_moment(bucket.update_time, self._clock.now())
        self._buckets.put(name, bucket)
        return empty_pb2.Empty()

    async def create_view(self, request: Any, call: ApiCall) -> Any:
        name, _ = self._changeable(request.parent, call, "views.create")
        _check_id("view_id", request.view_id)
        known = self._buckets.views(name)
        if request.view_id in known:
            raise AlreadyExists(f"View {request.view_id} already exists.")
        if len(known) >= _MOST_VIEWS:
            raise FailedPrecondition(f"The bucket has {_MOST_VIEWS} views already; delete some.")
        view = self._checked_view(request.view, name, request.view_id)
        set_moment(view.create_time, self._clock.now())
        return self._put_view(name, request.view_id, view)

    async def get_view(self, request: Any, call: ApiCall) -> Any:
        return self._existing_view(request.name, call, "get")[2]

    async def list_views(self, request: Any, call: ApiCall) -> Any:
        name, _ = self._existing(request.parent, call, "views.list")
        found = self._buckets.views(name)
        ids, token = page(found, size=request.page_size, token=request.page_token, most=_MOST_PAGE)
        return Views(views=[found[each] for each in ids], next_page_token=token)

    async def update_view(self, request: Any, call: ApiCall) -> Any:
        name, view_id, before = self._changeable_view(request.name, call, "update")
        view = self._checked_view(masked(before, request.view, request.update_mask), name, view_id)
        view.create_time.CopyFrom(before.create_time)
        return self._put_view(name, view_id, view)

    async def delete_view(self, request: Any, call: ApiCall) -> Any:
        name, view_id, _ = self._changeable_view(request.name, call, "delete")
        self._buckets.delete_view(name, view_id)
        return empty_pb2.Empty()

    def _put_view(self, name: BucketName, view_id: str, view: Any) -> Any:
        set_moment(view.update_time, self._clock.now())
        self._buckets.put_view(name, view_id, view)
        return view

    def _checked(self, given: Any, name: BucketName) -> Any:
        """Return a bucket of a caller with its name and defaults. Raises CloudError."""
        refuse_unemulated(given, _BUCKET, where="bucket")
        days = given.retention_days or _DAYS
        if not 1 <= days <= _MOST_DAYS:
            raise InvalidArgument(
                f"bucket.retention_days is {days}; it must be between 1 and {_MOST_DAYS}."
            )
        return LogBucket(
            name=self._buckets.full(name),
            description=given.description,
            retention_days=days,
            locked=given.locked,
            lifecycle_state=ACTIVE,
        )

    def _checked_view(self, given: Any, name: BucketName, view_id: str) -> Any:
        refuse_unemulated(given, _VIEW, where="view")
        parse_filter(given.filter)
        full = f"{self._buckets.full(name)}/views/{view_id}"
        return LogView(name=full, description=given.description, filter=given.filter)

    def _changeable(self, text: str, call: ApiCall, permission: str) -> tuple[BucketName, Any]:
        name, bucket = self._existing(text, call, permission)
        if bucket.lifecycle_state != ACTIVE:
            raise FailedPrecondition(f"Bucket {name.bucket} is deleted; undelete it first.")
        return name, bucket

    def _existing(self, text: str, call: ApiCall, permission: str) -> tuple[BucketName, Any]:
        name = self._buckets.name(text)
        self._allow(call, permission)
        bucket = self._buckets.find(name)
        if bucket is None:
            raise NotFound(f"Bucket {text[:200]} does not exist")
        return name, bucket

    def _changeable_view(self, text: str, call: ApiCall, verb: str) -> tuple[BucketName, str, Any]:
        found = self._existing_view(text, call, verb)
        if found[1] in (ALL_LOGS, DEFAULT):
            raise InvalidArgument(f"The view {found[1]} cannot be changed or deleted.")
        return found

    def _existing_view(self, text: str, call: ApiCall, verb: str) -> tuple[BucketName, str, Any]:
        parent, _, view_id = text.partition("/views/")
        name, _ = self._existing(parent, call, f"views.{verb}")
        view = self._buckets.views(name).get(view_id)
        if view is None:
            raise NotFound(f"View {text[:200]} does not exist")
        return name, view_id, view

    def _allow(self, call: ApiCall, permission: str) -> None:
        self._guard.require(call.caller, f"logging.{permission}", self._project)


def _check_id(where: str, text: str) -> None:
    if not _ID.fullmatch(text):
        raise InvalidArgument(
            f"{where} is {text[:120]!r}; it must have 1 to 100 letters, digits and -_. and begin with a "
            "letter or a digit."
        )
