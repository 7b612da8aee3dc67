"""TailLogEntries: new entries to a client as they are written."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.entry_store import LogStore
from devenv.gcp.logging.entry_view import EntryTest, EntryView
from devenv.gcp.logging.fields import nanoseconds
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import seconds
from devenv.gcp.rpc import StreamRpc

types = client_types("google.cloud.logging_v2")

Request: Any = types.TailLogEntriesRequest.pb()
Response: Any = types.TailLogEntriesResponse.pb()
_WINDOW, _LONGEST_WINDOW = 2.0, 60.0  # seconds
_MOST_WAITING = 10_000  # entries for a client that reads too slowly
_MOST_SENT = 1000  # entries in one answer


class TailMethod:
    """The streaming method; `readable` refuses who may not read the entries of these resources."""

    def __init__(
        self, store: LogStore, clock: Clock, readable: Callable[[Any, ApiCall], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._readable = readable

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
        self._readable(first.resource_names, call)
        window = seconds(first.buffer_window) if first.HasField("buffer_window") else _WINDOW
        if not 0 <= window <= _LONGEST_WINDOW:
            raise InvalidArgument(
                f"buffer_window must be between 0 and {_LONGEST_WINDOW:g} seconds."
            )
        waiting = _Waiting(parse_filter(first.filter))
        self._store.listeners.add(waiting.add)
        try:
            while True:
                await waiting.some.wait()
                await self._clock.machine_sleep(window)
                for answer in waiting.take():
                    yield answer
        finally:
            self._store.listeners.discard(waiting.add)


class _Waiting:
    """Entries that a stream has not sent yet."""

    def __init__(self, test: EntryTest) -> None:
        self._test = test
        self._entries: list[Any] = []
        self._dropped = 0
        self.some = asyncio.Event()

    def add(self, entries: list[Any]) -> None:
        passing = [each for each in entries if self._test(EntryView(each))]
        room = _MOST_WAITING - len(self._entries)
        self._entries += passing[:room]
        self._dropped += len(passing[room:])
        if passing:
            self.some.set()

    def take(self) -> list[Any]:
        """Return the answers with all entries, and how many a slow client has missed."""
        entries = sorted(self._entries, key=lambda each: nanoseconds(each.timestamp))
        dropped, self._dropped = self._dropped, 0
        self._entries = []
        self.some.clear()
        starts = range(0, len(entries), _MOST_SENT)
        answers = [Response(entries=entries[at : at + _MOST_SENT]) for at in starts]
        if dropped:
            reason = types.TailLogEntriesResponse.SuppressionInfo.Reason.NOT_CONSUMED
            answers[-1].suppression_info.add(reason=reason, suppressed_count=dropped)
        return answers
