"""TailLogEntries: new entries to a client as they are written.

See https://cloud.google.com/logging/docs/view/streaming-live-tailing and, for the limits,
https://cloud.google.com/logging/quotas.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, ResourceExhausted
from devenv.gcp.logging.buckets import LogSource
from devenv.gcp.logging.entry_view import EntryTest, EntryView
from devenv.gcp.logging.fields import nanoseconds
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import seconds
from devenv.gcp.rpc import StreamRpc

types = client_types("google.cloud.logging_v2")

Request: Any = types.TailLogEntriesRequest.pb()
Response: Any = types.TailLogEntriesResponse.pb()
_REASONS = types.TailLogEntriesResponse.SuppressionInfo.Reason
_WINDOW, _LONGEST_WINDOW = 2.0, 60.0  # seconds
_MOST_SESSIONS = 10
_MOST_OF_MINUTE = 60_000  # entries for one client
_MOST_WAITING = 10_000  # entries for a client that reads too slowly
_MOST_SENT = 1000  # entries in one answer


class TailMethod:
    """The streaming method; `source` refuses who may not read the entries of these resources."""

    def __init__(self, clock: Clock, source: Callable[[Any, ApiCall], LogSource]) -> None:
        self._clock = clock
        self._source = source
        self._sessions = 0

    def rpc(self) -> StreamRpc:
        method = "google.logging.v2.LoggingServiceV2/TailLogEntries"
        return StreamRpc(method, Request, Response, self.tail)

    async def tail(self, requests: AsyncIterator[Any], call: ApiCall) -> AsyncGenerator[Any, None]:
        """Yield entries until the client cancels; it may end its own side before. Raises CloudError.

        Each answer has the entries of one buffer window, in the order of their times.
        """
        first = await anext(requests, None)
        if first is None:
            raise InvalidArgument("The first request of a stream must have resource_names.")
        source = self._source(first.resource_names, call)
        window = seconds(first.buffer_window) if first.HasField("buffer_window") else _WINDOW
        if not 0 <= window <= _LONGEST_WINDOW:
            raise InvalidArgument(
                f"buffer_window must be between 0 and {_LONGEST_WINDOW:g} seconds."
            )
        waiting = _Waiting(source, parse_filter(first.filter), self._clock)
        if self._sessions >= _MOST_SESSIONS:
            raise ResourceExhausted(
                f"A project has at most {_MOST_SESSIONS} live tailing sessions; end one of them."
            )
        self._sessions += 1
        source.entries.listeners.add(waiting.add)
        try:
            while True:
                await waiting.some.wait()
                await self._clock.machine_sleep(window)
                for answer in waiting.take():
                    yield answer
        finally:
            source.entries.listeners.discard(waiting.add)
            self._sessions -= 1


class _Waiting:
    """Entries that a stream has not sent yet."""

    def __init__(self, source: LogSource, test: EntryTest, clock: Clock) -> None:
        self._source, self._test, self._clock = source, test, clock
        self._entries: list[Any] = []
        self._suppressed: Counter[Any] = Counter()
        self._minute, self._of_minute = 0.0, 0
        self.some = asyncio.Event()

    def add(self, entries: list[tuple[Any, int]]) -> None:
        for entry, kept in entries:
            view = EntryView(entry)
            if not (kept & self._source.kept and self._source.test(view) and self._test(view)):
                continue
            self.some.set()
            if not self._is_in_time():
                self._suppressed[_REASONS.RATE_LIMIT] += 1
            elif len(self._entries) >= _MOST_WAITING:
                self._suppressed[_REASONS.NOT_CONSUMED] += 1
            else:
                self._entries.append(entry)

    def _is_in_time(self) -> bool:
        """Count an entry of this minute; return whether there are not too many."""
        now = self._clock.machine()
        if not 0 <= now - self._minute < 60:
            self._minute, self._of_minute = now, 0
        self._of_minute += 1
        return self._of_minute <= _MOST_OF_MINUTE

    def take(self) -> list[Any]:
        """Return the answers with all entries; the last tells how many the client has missed."""
        entries = sorted(self._entries, key=lambda each: nanoseconds(each.timestamp))
        suppressed, self._suppressed = self._suppressed, Counter()
        self._entries = []
        self.some.clear()
        starts = range(0, max(len(entries), 1), _MOST_SENT)
        answers = [Response(entries=entries[at : at + _MOST_SENT]) for at in starts]
        for reason, count in suppressed.items():
            answers[-1].suppression_info.add(reason=reason, suppressed_count=count)
        return answers
