"""google.logging.v2.ConfigServiceV2: exclusions, which are those of the sink `_Default`.

See https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.exclusions.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.logging.entries import LoggingNames
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import masked, page, set_moment
from devenv.gcp.rpc import HttpRule, Rpc

types = client_types("google.cloud.logging_v2")

_GRPC = "google.logging.v2.ConfigServiceV2"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_MOST, _MOST_OF_SINK, _LONGEST_FILTER = 10, 50, 20_000
_MOST_PAGE = 1000
LogExclusion: Any = types.LogExclusion.pb()
Listed: Any = types.ListExclusionsResponse.pb()


class LogExclusionMethods:
    """The methods; `default` returns the sink `_Default`, and `put` stores it."""

    def __init__(
        self,
        config: CloudConfig,
        clock: Clock,
        guard: Guard,
        default: Callable[[], Any],
        put: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._names = LoggingNames(config)
        self._clock = clock
        self._guard = guard
        self._default = default
        self._put = put

    def rpcs(self) -> Iterator[Rpc]:
        one, many = "/v2/{name=projects/*/exclusions/*}", "/v2/{parent=projects/*}/exclusions"
        empty = empty_pb2.Empty
        for name, response, handle, rule in (
            ("CreateExclusion", LogExclusion, self.create, HttpRule("POST", many, "exclusion")),
            ("GetExclusion", LogExclusion, self.get, HttpRule("GET", one)),
            ("ListExclusions", Listed, self.list, HttpRule("GET", many)),
            ("UpdateExclusion", LogExclusion, self.update, HttpRule("PATCH", one, "exclusion")),
            ("DeleteExclusion", empty, self.delete, HttpRule("DELETE", one)),
        ):
            request = getattr(types, f"{name}Request").pb()
            yield Rpc(f"{_GRPC}/{name}", request, response, handle, (rule,))

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.parent, call, "create")
        found, given = self._all(), request.exclusion
        if given.name in found:
            raise AlreadyExists(f"Exclusion {given.name} already exists")
        if len(found) >= _MOST:
            raise FailedPrecondition(f"The project has {_MOST} exclusions already; delete some.")
        return (await self._store(found | {given.name: given}))[given.name]

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._existing(request.name, call, "get")[1]

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.parent, call, "list")
        found = self._all()
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_MOST_PAGE
        )
        return Listed(exclusions=[found[name] for name in names], next_page_token=token)

    async def update(self, request: Any, call: ApiCall) -> Any:
        name, before = self._existing(request.name, call, "update")
        if not request.update_mask.paths:
            raise InvalidArgument("update_mask is required, for example filter,description.")
        after = masked(before, request.exclusion, request.update_mask)
        if after.name != name:
            raise InvalidArgument(
                f"exclusion.name is {after.name[:100]!r}; an exclusion keeps its name."
            )
        return (await self._store(self._all() | {name: after}))[name]

    async def delete(self, request: Any, call: ApiCall) -> Any:
        name, _ = self._existing(request.name, call, "delete")
        found = self._all()
        del found[name]
        await self._store(found)
        return empty_pb2.Empty()

    def _all(self) -> dict[str, Any]:
        return {each.name: each for each in self._default().exclusions}

    async def _store(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Give the sink these exclusions and return them. Raises CloudError."""
        sink = self._default()
        now = self._clock.now()
        checked = checked_exclusions(wanted.values(), sink.exclusions, now, of="exclusion")
        del sink.exclusions[:]
        sink.exclusions.extend(checked)
        set_moment(sink.update_time, now)
        await self._put(sink)
        return {each.name: each for each in checked}

    def _existing(self, full: str, call: ApiCall, verb: str) -> tuple[str, Any]:
        project, collection, name = full.partition("/exclusions/")
        if not collection:
            raise InvalidArgument(
                f"{full[:200]!r} must be formatted: projects/PROJECT/exclusions/EXCLUSION."
            )
        self._allow(project, call, verb)
        if (exclusion := self._all().get(name)) is None:
            raise NotFound(f"Exclusion {name[:100]} does not exist")
        return name, exclusion

    def _allow(self, parent: str, call: ApiCall, verb: str) -> None:
        project = self._names.project(parent)
        self._guard.require(call.caller, f"logging.exclusions.{verb}", project)


def checked_exclusions(
    given: Iterable[Any], before: Iterable[Any], now: float, *, of: str = ""
) -> list[Any]:
    """Return exclusions with their times, those of `before` where nothing changes.

    `of` replaces the name of the field in messages. Raises CloudError.
    """
    earlier, made = {each.name: each for each in before}, dict[str, Any]()
    for index, each in enumerate(given):
        where = of or f"sink.exclusions[{index}]"
        _check(where, each)
        if each.name in made:
            raise InvalidArgument(f"{where}.name is {each.name!r}, like another one of this sink.")
        old, new = earlier.get(each.name), LogExclusion()
        new.CopyFrom(each)
        new.ClearField("create_time")
        new.ClearField("update_time")
        if old is not None:
            new.create_time.CopyFrom(old.create_time)
            new.update_time.CopyFrom(old.update_time)
        if new != old:
            set_moment(new.update_time, now)
        if old is None:
            new.create_time.CopyFrom(new.update_time)
        made[each.name] = new
    if len(made) > _MOST_OF_SINK:
        raise InvalidArgument(f"sink.exclusions has more than {_MOST_OF_SINK} members.")
    return list(made.values())


def _check(where: str, exclusion: Any) -> None:
    if not _ID.fullmatch(exclusion.name):
        raise InvalidArgument(
            f"{where}.name is {exclusion.name[:120]!r}; it must have 1 to 100 letters, digits and -_. "
            "and begin with a letter or a digit."
        )
    if not exclusion.filter:
        raise InvalidArgument(f"{where}.filter is required.")
    check_filter(f"{where}.filter", exclusion.filter)


def check_filter(where: str, text: str) -> None:
    """Raise CloudError for a filter that is none."""
    if len(text) > _LONGEST_FILTER:
        raise InvalidArgument(f"{where} has more than {_LONGEST_FILTER} characters.")
    parse_filter(text)
