"""google.logging.v2.ConfigServiceV2: sinks, which export the entries of their filter.

A sink leads to a topic of Pub/Sub, to a bucket of Cloud Storage, or to a log bucket of the project. The
sinks `_Default` and `_Required` are there as in every project; only `_Default` can be changed.

See https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
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
    PermissionDenied,
    Unimplemented,
)
from devenv.gcp.logging.buckets import DEFAULT, FILTERS, REQUIRED
from devenv.gcp.logging.entries import LoggingNames
from devenv.gcp.logging.exclusions import LogExclusionMethods, check_filter, checked_exclusions
from devenv.gcp.logging.exports import BUCKETS, LOG_BUCKETS, TOPICS, LogSink, SinkExports
from devenv.gcp.messages import every, masked, page, refuse_unemulated, set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

types = client_types("google.cloud.logging_v2")

_GRPC = "google.logging.v2.ConfigServiceV2"
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_MOST = 200
_MOST_PAGE = 1000
_FIELDS = every(
    *("name", "destination", "filter", "description", "disabled"),
    *("create_time", "update_time", "writer_identity"),
    exclusions=every("name", "description", "filter", "disabled", "create_time", "update_time"),
)
_OUTPUT_ONLY = ("create_time", "update_time", "writer_identity")
# UpdateSink replaces these without a mask, for older clients; Google adds includeChildren.
_UNMASKED = ("destination", "filter")
Listed: Any = types.ListSinksResponse.pb()


class LogSinksService(CloudService):
    """The sinks of one project; `exports` carries the entries."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        exports: SinkExports,
    ) -> None:
        self._config = config
        self._names = LoggingNames(config)
        self._table = store.table("log_sinks")
        self._clock = clock
        self._guard = guard
        self._exports = exports
        self._exclusions = LogExclusionMethods(config, clock, guard, self._default, self._put)
        self._changing = asyncio.Lock()

    def rpcs(self) -> Iterator[Rpc]:
        one, many = "/v2/{sink_name=projects/*/sinks/*}", "/v2/{parent=projects/*}/sinks"
        update = (HttpRule("PUT", one, "sink"), HttpRule("PATCH", one, "sink"))
        for name, response, handle, rules in (
            ("CreateSink", LogSink, self.create, (HttpRule("POST", many, "sink"),)),
            ("GetSink", LogSink, self.get, (HttpRule("GET", one),)),
            ("ListSinks", Listed, self.list, (HttpRule("GET", many),)),
            ("UpdateSink", LogSink, self.update, update),
            ("DeleteSink", empty_pb2.Empty, self.delete, (HttpRule("DELETE", one),)),
        ):
            request = getattr(types, f"{name}Request").pb()
            yield self._in_turn(Rpc(f"{_GRPC}/{name}", request, response, handle, rules))
        yield from map(self._in_turn, self._exclusions.rpcs())

    async def start(self) -> None:
        for sink in self._all().values():
            self._exports.follow(sink)
        self._exports.start()

    async def stop(self) -> None:
        self._exports.stop()

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.parent, call, "create")
        given = request.sink
        if given.name in self._all():
            raise AlreadyExists(f"Sink {given.name} already exists")
        if len(self._all()) >= _MOST:
            raise FailedPrecondition(f"The project has {_MOST} sinks already; delete some first.")
        sink = self._checked(given)
        set_moment(sink.create_time, self._clock.now())
        sink.update_time.CopyFrom(sink.create_time)
        sink.writer_identity = self._writer(sink, is_unique=request.unique_writer_identity)
        return await self._put(sink)

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._existing(request.sink_name, call, "get")

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.parent, call, "list")
        found = self._all()
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_MOST_PAGE
        )
        return Listed(sinks=[found[name] for name in names], next_page_token=token)

    async def update(self, request: Any, call: ApiCall) -> Any:
        before = self._existing(request.sink_name, call, "update")
        if before.name == REQUIRED:
            raise PermissionDenied(f"Sink {REQUIRED} cannot be modified")
        mask, given = request.update_mask, LogSink()
        given.CopyFrom(request.sink)
        given.name = given.name or before.name
        if given.name != before.name:
            raise InvalidArgument(f"sink.name is {given.name[:100]!r}; a sink keeps its name.")
        if not mask.paths:
            mask.paths.extend(_UNMASKED)
        sink = self._checked(masked(before, given, mask), before)
        if before.HasField("create_time"):  # _Default has none
            sink.create_time.CopyFrom(before.create_time)
        set_moment(sink.update_time, self._clock.now())
        was_unique = before.writer_identity == self._writer(before, is_unique=True)
        is_unique = request.unique_writer_identity or was_unique
        sink.writer_identity = self._writer(sink, is_unique=is_unique)
        return await self._put(sink)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        sink = self._existing(request.sink_name, call, "delete")
        if sink.name in FILTERS:
            advice = ". Consider disabling instead" if sink.name == DEFAULT else ""
            raise PermissionDenied(f"Sink {sink.name} cannot be deleted{advice}")
        await self._exports.write_waiting(sink.name)
        self._table.delete(sink.name)
        self._exports.forget(sink.name)
        return empty_pb2.Empty()

    def _in_turn(self, rpc: Rpc) -> Rpc:
        """Let a change wait for the one before it: between reading and writing, objects are written."""

        async def handle(request: Any, call: ApiCall) -> Any:
            async with self._changing:
                return await rpc.handle(request, call)

        is_reading = rpc.bindings[0].verb == "GET"
        return rpc if is_reading else replace(rpc, handle=handle)

    async def _put(self, sink: Any) -> Any:
        await self._exports.write_waiting(sink.name)
        self._table.put(sink.name, sink.SerializeToString())
        self._exports.follow(sink)
        return sink

    def _all(self) -> dict[str, Any]:
        own = {name: LogSink.FromString(value) for name, value in self._table.scan()}
        return {sink.name: sink for sink in self._built_in()} | own

    def _default(self) -> Any:
        return self._all()[DEFAULT]

    def _built_in(self) -> Iterator[Any]:
        project = self._names.project_name
        for name, text in FILTERS.items():
            bucket = f"{LOG_BUCKETS}{project}/locations/global/buckets/{name}"
            yield LogSink(name=name, destination=bucket, filter=text)

    def _checked(self, given: Any, before: Any | None = None) -> Any:
        """Return a sink of a caller without what the service sets. Raises CloudError.

        `before` is the sink that it replaces.
        """
        refuse_unemulated(given, _FIELDS, where="sink")
        sink = LogSink()
        sink.CopyFrom(given)
        for name in _OUTPUT_ONLY:
            sink.ClearField(name)
        if not _ID.fullmatch(sink.name):
            raise InvalidArgument(
                f"sink.name is {sink.name[:120]!r}; it must have 1 to 100 letters, digits and -_. and "
                "begin with a letter, a digit or _."
            )
        self._check_destination(sink.destination)
        check_filter("sink.filter", sink.filter)
        earlier = before.exclusions if before else []
        exclusions = checked_exclusions(given.exclusions, earlier, self._clock.now())
        del sink.exclusions[:]
        sink.exclusions.extend(exclusions)
        return sink

    def _check_destination(self, text: str) -> None:
        service, _, rest = text.partition("/")
        if service == "bigquery.googleapis.com":
            raise Unimplemented(
                f"sink.destination {text[:200]!r}: BigQuery is not emulated, so that its rows would be "
                "lost. Use a topic, a bucket of Cloud Storage or a log bucket."
            )
        if text.startswith(LOG_BUCKETS) and rest.startswith("projects/"):
            if "/" not in rest.removeprefix("projects/"):
                raise Unimplemented(
                    f"sink.destination {text[:200]!r}: projects are not emulated as destinations, "
                    "only their log buckets."
                )
            if self._exports.buckets.find(self._exports.buckets.name(rest)) is None:
                raise NotFound(
                    f"sink.destination {text[:200]!r} does not exist; create the log bucket first."
                )
        elif re.fullmatch(f"{TOPICS}projects/[^/]+/topics/[^/]+", text):
            return
        elif not re.fullmatch(rf"{BUCKETS}[a-z0-9._\-]{{3,222}}", text):
            raise InvalidArgument(
                f"sink.destination is {text[:200]!r}; it must be {BUCKETS}BUCKET, "
                f"{TOPICS}projects/PROJECT/topics/TOPIC or {LOG_BUCKETS}projects/PROJECT/locations/"
                "LOCATION/buckets/BUCKET."
            )
        elif self._exports.objects is None:
            raise Unimplemented(
                f"sink.destination {text[:200]!r}: exports need the emulated Cloud Storage, and "
                "gcp.storage of devenv.toml names another server."
            )

    def _writer(self, sink: Any, *, is_unique: bool) -> str:
        """Return the account that needs rights at the destination; a log bucket needs none."""
        if sink.destination.startswith(LOG_BUCKETS):
            return ""
        if is_unique:
            agent = f"service-{self._config.number}@gcp-sa-logging.iam.gserviceaccount.com"
            return f"serviceAccount:{agent}"
        return "serviceAccount:cloud-logs@system.gserviceaccount.com"

    def _existing(self, full: str, call: ApiCall, verb: str) -> Any:
        project, collection, name = full.partition("/sinks/")
        if not collection:
            raise InvalidArgument(f"{full[:200]!r} must be formatted: projects/PROJECT/sinks/SINK.")
        self._allow(project, call, verb)
        if (sink := self._all().get(name)) is None:
            raise NotFound(f"Sink {name[:100]} does not exist")
        return sink

    def _allow(self, parent: str, call: ApiCall, verb: str) -> None:
        project = self._names.project(parent)
        self._guard.require(call.caller, f"logging.sinks.{verb}", project)
