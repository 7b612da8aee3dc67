"""google.logging.v2.LoggingServiceV2 as the server wires it.

See https://cloud.google.com/logging/docs/reference/v2/rpc/google.logging.v2.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import CloudError, InvalidArgument, NotFound, Unauthenticated, Unimplemented
from devenv.gcp.logging.bucket_methods import LogBucketMethods
from devenv.gcp.logging.buckets import LogBuckets, LogSource, built_in_route
from devenv.gcp.logging.descriptors import DESCRIPTORS
from devenv.gcp.logging.entries import LARGEST_WRITE, LoggingNames, completed_entry, is_kept
from devenv.gcp.logging.entry_store import EntryQuery, LogStore
from devenv.gcp.logging.entry_view import EntryTest, EntryView
from devenv.gcp.logging.fields import nanoseconds
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.logging.otlp import entries_of
from devenv.gcp.logging.output import OutputLines
from devenv.gcp.logging.settings import LogSettingsMethods
from devenv.gcp.logging.tail import TailMethod
from devenv.gcp.messages import page, page_in_order
from devenv.gcp.rpc import HttpRule, Rpc, StreamRpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

types = client_types("google.cloud.logging_v2")

_GRPC = "google.logging.v2.LoggingServiceV2"
_PAGE, _MOST_PAGE = 50, 1000
_VIEWED = 100  # entries of a page for the control API
_FOLLOWED = 10  # pieces of new entries for it, at most
_LONGEST_POSITION = 18  # digits
_ORDERS = {"": False, "timestamp": False, "timestamp asc": False, "timestamp desc": True}
Written: Any = types.WriteLogEntriesResponse.pb()
Listed: Any = types.ListLogEntriesResponse.pb()
Logs: Any = types.ListLogsResponse.pb()
Descriptors: Any = types.ListMonitoredResourceDescriptorsResponse.pb()
_NO_DEFAULTS: Any = types.WriteLogEntriesRequest.pb()()
PartialErrors: Any = types.WriteLogEntriesPartialErrors.pb()


class LoggingService(CloudService):
    """The log entries of one project; `output` takes the lines of jobs and services."""

    def __init__(self, *, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._clock = clock
        self._guard = guard
        self._names = LoggingNames(config)
        self._entries = self.entries = LogStore(store, route=built_in_route)
        self.buckets = LogBuckets(config, store, clock, self._entries)
        self._bucket_methods = LogBucketMethods(config, self.buckets, clock, guard)
        self._settings = LogSettingsMethods(config, guard)
        self._tail = TailMethod(clock, self._source)
        self.output = OutputLines(config, self._entries, clock)

    def rpcs(self) -> Iterator[Rpc | StreamRpc]:
        for name, response, handle, rule in (
            ("WriteLogEntries", Written, self.write, HttpRule("POST", "/v2/entries:write", "*")),
            ("ListLogEntries", Listed, self.list, HttpRule("POST", "/v2/entries:list", "*")),
            ("ListLogs", Logs, self.list_logs, HttpRule("GET", "/v2/{parent=projects/*}/logs")),
            (
                "DeleteLog",
                empty_pb2.Empty,
                self.delete_log,
                # A log id has slashes, which a path has encoded.
                HttpRule("DELETE", "/v2/{log_name=projects/*/logs/**}"),
            ),
            (
                "ListMonitoredResourceDescriptors",
                Descriptors,
                self.list_descriptors,
                HttpRule("GET", "/v2/monitoredResourceDescriptors"),
            ),
        ):
            yield _rpc(name, response, handle, rule)
        yield from self._bucket_methods.rpcs()
        yield from self._settings.rpcs()
        yield self._tail.rpc()

    async def write(self, request: Any, call: ApiCall) -> Any:
        """Keep valid entries; without `partial_success` all of them or none. Raises CloudError."""
        if request.ByteSize() > LARGEST_WRITE:
            raise InvalidArgument(
                f"The request has {request.ByteSize()} bytes; at most {LARGEST_WRITE} are possible."
            )
        # A caller without the permission learns nothing of what is wrong with its entries.
        self._allow(call, "logEntries.create")
        now, good = self._clock.now(), []
        problems: dict[int, CloudError] = {}
        for index, entry in enumerate(request.entries):
            try:
                good.append(completed_entry(entry, request, self._names, now=now))
            except CloudError as error:
                problems[index] = error
        if problems and not request.partial_success:
            index, problem = next(iter(problems.items()))
            raise type(problem)(f"entries[{index}]: {problem.message}", problem.details)
        if not request.dry_run:
            self._entries.add((each for each in good if is_kept(each, now=now)), now=now)
        if problems:
            raise _partial_error(problems)
        return Written()

    def keep_otlp(self, resources: Sequence[Any]) -> list[str]:
        """Keep the valid log records of OTLP, and return what is wrong with each of the others."""
        now, good, problems = self._clock.now(), [], []
        for resource in resources:
            for entry in entries_of(resource, self._names.project_name):
                try:
                    good.append(completed_entry(entry, _NO_DEFAULTS, self._names, now=now))
                except CloudError as error:
                    problems.append(error.message)
        self._entries.add((each for each in good if is_kept(each, now=now)), now=now)
        return problems

    async def list(self, request: Any, call: ApiCall) -> Any:
        source = self._source(request.resource_names, call)
        if not 0 <= request.page_size <= _MOST_PAGE:
            raise InvalidArgument(
                f"page_size must be between 0 and {_MOST_PAGE}, not {request.page_size}."
            )
        order = " ".join(request.order_by.split())
        if order not in _ORDERS:
            raise InvalidArgument(
                f"order_by {request.order_by[:100]!r} is not possible; use 'timestamp asc' or "
                "'timestamp desc'."
            )
        wanted = parse_filter(request.filter)
        query = EntryQuery(
            test=lambda entry: source.test(entry) and wanted(entry),
            descending=_ORDERS[order],
            size=request.page_size or _PAGE,
            token=request.page_token,
            of="\n".join([request.filter, *request.resource_names]),
            kept=source.kept,
        )
        found, token = await source.entries.find(query)
        return Listed(entries=found, next_page_token=token)

    async def view(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return entries for the control API, the newest first. Raises CloudError.

        With `after`, a `position` of an earlier answer, only entries that were written since then;
        else a page of all, and the `next` page's token. Entries must pass both `filter` and `also`.
        """
        texts = [query.get(name, "") for name in ("filter", "also")]
        first, second = map(parse_filter, texts)
        after = query.get("after", "")

        def test(entry: EntryView) -> bool:
            return first(entry) and second(entry)

        if after:
            if not (after.isdecimal() and len(after) <= _LONGEST_POSITION):
                raise InvalidArgument(f"after is {after[:100]!r}; it must be a position.")
            entries, position = await _new_entries(self._entries, int(after), test)
            entries.sort(key=lambda each: nanoseconds(each.timestamp), reverse=True)
            return _shown(entries, position)
        position = self._entries.position()
        wanted = EntryQuery(
            test=test,
            descending=True,
            size=_VIEWED,
            token=query.get("token", ""),
            of="\n".join(texts),
            upto=position,
        )
        entries, token = await self._entries.find(wanted)
        return _shown(entries, position) | {"next": token}

    async def list_logs(self, request: Any, call: ApiCall) -> Any:
        if request.parent or not request.resource_names:
            self._names.project(request.parent)
        source = self._named(request.resource_names or [request.parent])
        self._allow(call, "logs.list")
        found = source.entries.logs(source.kept)
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_MOST_PAGE
        )
        return Logs(log_names=names, next_page_token=token)

    async def delete_log(self, request: Any, call: ApiCall) -> Any:
        name = self._names.log(request.log_name)
        self._allow(call, "logs.delete")
        if not self._entries.delete(name):
            raise NotFound(f"Log {name.rpartition('/')[2]} does not exist")
        return empty_pb2.Empty()

    async def list_descriptors(self, request: Any, call: ApiCall) -> Any:
        """Return the types of monitored resources, which every account may see."""
        if call.caller.anonymous:
            raise Unauthenticated("Request is missing required authentication credential.")
        known = {each.type: each for each in DESCRIPTORS}
        chosen, token = page_in_order(sorted(known), request, most=_MOST_PAGE)
        return Descriptors(
            resource_descriptors=[known[each] for each in chosen], next_page_token=token
        )

    def _source(self, resource_names: Any, call: ApiCall) -> LogSource:
        """Return the entries that these resources have, and the test of them. Raises CloudError."""
        if not any("/locations/" in name for name in resource_names):
            self._readable(resource_names, call)
            return self._of_project()
        found = self._named(resource_names)
        self._allow(call, "views.access")
        return found

    def _of_project(self) -> LogSource:
        """Return the project's entries that are not too old; their next write may be far away."""
        self._entries.prune(self._clock.now())
        return LogSource(self._entries, _everything)

    def _named(self, resource_names: Any) -> LogSource:
        """Return the entries of the project, or those of one view. Raises CloudError."""
        names = set(resource_names)
        views = {name for name in names if "/locations/" in name}
        if not views:
            for name in names:
                self._names.project(name)
            return self._of_project()
        if len(names) > 1:
            raise Unimplemented(
                "Views of several log buckets in one list are not emulated: ask for each alone."
            )
        return self.buckets.source(views.pop())

    def _readable(self, resource_names: Any, call: ApiCall) -> None:
        """Raise CloudError unless the caller may read the entries of all these resources."""
        if not resource_names:
            raise InvalidArgument("resource_names is empty: it must have projects/[PROJECT_ID].")
        for name in resource_names:
            self._names.project(name)
        self._allow(call, "logEntries.list")

    def _allow(self, call: ApiCall, permission: str) -> None:
        self._guard.require(call.caller, f"logging.{permission}", self._names.project_name)


def _everything(_entry: EntryView) -> bool:
    return True


async def _new_entries(store: LogStore, after: int, test: EntryTest) -> tuple[list[Any], int]:
    """Return the matching ones of the next entries, and the position behind them."""
    found: list[Any] = []
    for _ in range(_FOLLOWED):
        some, position = store.written_after(after, test)
        found += some
        if position == after:
            break
        after = position
        await asyncio.sleep(0)
    return found, after


def _shown(entries: list[Any], position: int) -> dict[str, Any]:
    return {"entries": [MessageToDict(each) for each in entries], "position": position}


def _rpc(name: str, response: Any, handle: Callable[..., Any], rule: HttpRule) -> Rpc:
    request = getattr(types, f"{name}Request").pb()
    return Rpc(f"{_GRPC}/{name}", request, response, handle, (rule,))


def _partial_error(problems: dict[int, CloudError]) -> CloudError:
    """Return the error of one entry, with those of all by their index in the details."""
    errors = {
        index: Status(code=error.code, message=error.message) for index, error in problems.items()
    }
    first = next(iter(problems.values()))
    return type(first)(first.message, (PartialErrors(log_entry_errors=errors),))
