"""The entries that sinks carry to Pub/Sub and log buckets at once, to Cloud Storage each hour.

Each sink has a position in the log, up to which its entries have left; a killed emulator goes on from
there, so that an entry may leave twice and none is lost. The identity of the sink writes: entries
that it has no right to write are gone, with a warning, as on Google.

See https://cloud.google.com/logging/docs/export/pubsub and
https://cloud.google.com/logging/docs/export/storage. Late entries get an object of their own.
"""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Protocol
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict

from devenv.gcp.caller import ApiCaller, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.delivery import Topics
from devenv.gcp.errors import CloudError, NotFound
from devenv.gcp.logging.buckets import BITS, LogBuckets
from devenv.gcp.logging.entry_store import IN_BUCKETS, TO_EXPORT
from devenv.gcp.logging.entry_view import EntryTest, EntryView
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import moment
from devenv.gcp.store import Store

types = client_types("google.cloud.logging_v2")

LogSink: Any = types.LogSink.pb()
TOPICS = "pubsub.googleapis.com/"
BUCKETS = "storage.googleapis.com/"
LOG_BUCKETS = "logging.googleapis.com/"
_HOUR = 3600.0
MOST_SHARD = 8 << 20  # bytes of entries from which an object of Cloud Storage is written
log = logging.getLogger(__name__)


class ObjectWriter(Protocol):
    """Cloud Storage, as exports use it."""

    def write(self, caller: ApiCaller, bucket: str, name: str, data: bytes) -> None:
        """Create an object of JSON lines. Raises CloudError, for one that exists too."""
        ...


@dataclass(frozen=True, slots=True)
class _Followed:
    """A sink and its test of entries."""

    sink: Any
    test: EntryTest

    @property
    def writer(self) -> ApiCaller:
        return ApiCaller(self.sink.writer_identity.removeprefix("serviceAccount:"))


class SinkExports:
    """Carries the entries of all sinks that `follow` names; `objects` is None without a storage."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        guard: Guard,
        topics: Topics,
        objects: ObjectWriter | None,
        buckets: LogBuckets,
    ) -> None:
        self._positions = store.table("log_sink_positions")
        self._entries = buckets.project
        self._clock = clock
        self._guard = guard
        self._topics = topics
        self.objects, self.buckets = objects, buckets
        self._followed: dict[str, _Followed] = {}
        self._routes: dict[str, tuple[int, _Followed]] = {}
        self._hours: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # so that no entry is written twice to Cloud Storage

    def start(self) -> None:
        """Carry what has waited for this start, and what is written from now on."""
        self._entries.route = self._route
        self._entries.listeners.add(self._carry_all)
        self._carry_all([])
        self._hours = asyncio.create_task(self._follow_hours())

    def stop(self) -> None:
        self._entries.listeners.discard(self._carry_all)
        if self._hours:
            self._hours.cancel()

    def follow(self, sink: Any) -> None:
        """Carry the entries of a sink, of a new one those that are written from now on."""
        passes = parse_filter(sink.filter)
        dropped = [parse_filter(each.filter) for each in sink.exclusions if not each.disabled]

        def test(entry: EntryView) -> bool:
            return passes(entry) and not any(drops(entry) for drops in dropped)

        if (bit := self._built_in(sink.destination)) is not None:
            self.forget(sink.name)
            self._routes[sink.name] = (bit, _Followed(sink, test))
            return
        self._routes.pop(sink.name, None)
        known, last = self._positions.get(sink.name), self._entries.position()
        if known is None or int(known) > last:  # what it carried last has been deleted
            self._move(sink.name, last)
        self._followed[sink.name] = _Followed(sink, test)

    async def write_waiting(self, name: str) -> None:
        """Write to Cloud Storage what has waited for its hour to end: the sink is about to change."""
        followed = self._followed.get(name)
        if followed and followed.sink.destination.startswith(BUCKETS):
            await self._end_hour(followed)

    def forget(self, name: str) -> None:
        self._followed.pop(name, None)
        self._routes.pop(name, None)
        self._positions.delete(name)

    def _route(self, entry: EntryView) -> int:
        """Return which of the two buckets keeps an entry, or that only another sink carries it."""
        kept = 0
        for bit, route in self._routes.values():
            if not (kept & bit or route.sink.disabled) and route.test(entry):
                kept |= bit
        if not kept and any(
            not each.sink.disabled and each.test(entry) for each in self._followed.values()
        ):
            return TO_EXPORT
        return kept

    def _built_in(self, destination: str) -> int | None:
        """Return the bit of `_Default` or `_Required`, None for another destination."""
        if not destination.startswith(LOG_BUCKETS):
            return None
        name = self.buckets.name(destination.removeprefix(LOG_BUCKETS))
        return BITS.get(name.bucket) if name.location == "global" else None

    def _carry_all(self, _added: list[tuple[Any, int]]) -> None:
        for followed in self._leading_to(TOPICS):
            topic = followed.sink.destination.removeprefix(TOPICS)
            for entries, position in self._waiting(followed):
                for entry in entries:
                    self._try(followed, self._publish, topic, entry)
                self._move(followed.sink.name, position)
        for followed in self._leading_to(LOG_BUCKETS):
            for entries, position in self._waiting(followed):
                self._try(followed, self._keep, followed.sink.destination, entries)
                self._move(followed.sink.name, position)

    def _publish(self, writer: ApiCaller, topic: str, entry: Any) -> None:
        self._guard.require(writer, "pubsub.topics.publish", topic)
        time = entry.timestamp.ToJsonString()
        self._topics.publish(
            topic, _line(entry).encode(), {"logging.googleapis.com/timestamp": time}
        )

    def _keep(self, _writer: ApiCaller, destination: str, entries: list[Any]) -> None:
        name = self.buckets.name(destination.removeprefix(LOG_BUCKETS))
        kept = self.buckets.entries(name)
        if kept is not None:
            kept.add(entries, now=self._clock.now())
        elif entries:
            raise NotFound("the log bucket does not exist")

    async def _follow_hours(self) -> None:
        while True:
            await self._clock.sleep(_HOUR - self._clock.now() % _HOUR)
            for followed in self._leading_to(BUCKETS):
                try:
                    await self._end_hour(followed)
                except Exception:  # of one sink: the others go on
                    log.exception("Sink %s was not carried", followed.sink.name)

    async def _end_hour(self, followed: _Followed) -> None:
        """Write the objects of what has waited; entries are read by pieces between other calls.

        Many entries are written as several objects ("shards"), so that few are in memory.
        """
        lines: dict[str, bytearray] = {}
        shard = reached = 0
        async with self._writing:
            if self._followed.get(followed.sink.name) is not followed:
                return  # changed or deleted meanwhile, and written then
            for entries, position in self._waiting(followed):
                for entry in entries:
                    data = f"{_line(entry)}\n".encode()
                    lines.setdefault(_name(entry), bytearray()).extend(data)
                reached = position
                if sum(map(len, lines.values())) >= MOST_SHARD:
                    self._write_all(followed, lines, shard, reached)
                    lines, shard = {}, shard + 1
                await asyncio.sleep(0)
            if reached:
                self._write_all(followed, lines, shard, reached)

    def _write_all(
        self, followed: _Followed, lines: dict[str, bytearray], shard: int, reached: int
    ) -> None:
        """Write the objects of one shard; the entries up to `reached` have left with it."""
        bucket = followed.sink.destination.removeprefix(BUCKETS)
        for name, data in lines.items():
            self._try(followed, self._write, bucket, name, shard, bytes(data))
        self._move(followed.sink.name, reached)

    def _write(self, writer: ApiCaller, bucket: str, name: str, shard: int, data: bytes) -> None:
        """Write an object, under the name of a late one if the hour has its object already."""
        if self.objects is None:
            return
        late = (f"A{shard}:{second}" for second in count(int(self._clock.now())))
        for ending in chain((f"S{shard}",), late):
            try:
                self.objects.write(writer, bucket, f"{name}_{ending}.json", data)
            except CloudError as error:
                if error.http != 412:
                    raise
            else:
                return

    def _leading_to(self, service: str) -> Iterator[_Followed]:
        for followed in list(self._followed.values()):
            if followed.sink.destination.startswith(service):
                yield followed

    def _waiting(self, followed: _Followed) -> Iterator[tuple[list[Any], int]]:
        """Yield the entries that a sink has not carried yet, with the position behind them.

        Those of a time when it is disabled pass it by.
        """
        position = int(self._positions.get(followed.sink.name) or 0)
        position = min(position, self._entries.position())
        while position < self._entries.position():
            entries, position = self._entries.written_after(
                position, followed.test, kept=IN_BUCKETS | TO_EXPORT
            )
            yield ([] if followed.sink.disabled else entries), position

    def _try(self, followed: _Followed, act: Callable[..., None], *rest: Any) -> None:
        try:
            act(followed.writer, *rest)
        except CloudError as error:
            name, destination = followed.sink.name, followed.sink.destination
            log.warning("Sink %s cannot write to %s: %s", name, destination, error)

    def _move(self, name: str, position: int) -> None:
        self._positions.put(name, str(position).encode())


def _line(entry: Any) -> str:
    return json.dumps(MessageToDict(entry), ensure_ascii=False)


def _name(entry: Any) -> str:
    """Return the name of the object for the hour and the log of an entry, without its ending."""
    log_id = unquote(entry.log_name.partition("/logs/")[2])
    hour = dt.datetime.fromtimestamp(moment(entry.timestamp), dt.UTC)
    return f"{log_id}/{hour:%Y/%m/%d/%H}:00:00_{hour:%H}:59:59"
