"""Subscriptions that write their messages to Cloud Storage, as files of text.

See https://docs.cloud.google.com/pubsub/docs/create-cloudstorage-subscription. A message is acknowledged
when its file is written; messages that wait for their file are delivered again after a stop.
"""

import asyncio
import datetime as dt
import logging
import re
import secrets
import sqlite3
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import Clock
from devenv.gcp.errors import CloudError, InvalidArgument
from devenv.gcp.messages import seconds
from devenv.gcp.pubsub.backlog import BacklogEntry
from devenv.gcp.pubsub.broker import Broker, ack_id_of
from devenv.gcp.pubsub.loops import SubscriptionLoops
from devenv.gcp.pubsub.state import LiveSubscription

log = logging.getLogger(__name__)
_TAKEN, _TAKEN_BYTES = 1000, 10_000_000
_DEFAULT_FORMAT = "YYYY-MM-DDThh:mm:ss+00:00"
_PARTS = {"YYYY": "%Y", "MM": "%m", "DD": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}
_PART = re.compile("YYYY|MM|DD|hh|mm|ss")
_LEASE = 1e10  # seconds: turns of the clock, of 100 years at most, do not end it
_AGAIN = 10.0  # seconds until a file that could not be written is tried again


class MessageFiles(Protocol):
    """Cloud Storage, as subscriptions use it."""

    def write(
        self, caller: ApiCaller, bucket: str, name: str, data: bytes, content_type: str
    ) -> None:
        """Create an object. Raises CloudError."""
        ...


class FileBatch:
    """The messages of the file to come, and the timer that began with the first one."""

    def __init__(self) -> None:
        self.entries: list[BacklogEntry] = []
        self.timer: asyncio.Task[None] | None = None
        self._size = 0

    def add(self, entries: Sequence[BacklogEntry]) -> None:
        self.entries += entries
        self._size += sum(len(each.message.body.data) + 1 for each in entries)

    def room(self, config: Any) -> tuple[int, int]:
        """Return how many messages may come, 0 if the file is full, and of how many bytes."""
        most = config.max_messages - len(self.entries) if config.max_messages else _TAKEN
        most_bytes = config.max_bytes - self._size if config.max_bytes else _TAKEN_BYTES
        is_full = most <= 0 or most_bytes <= 0
        return (0 if is_full else min(most, _TAKEN)), min(most_bytes, _TAKEN_BYTES)

    def end(self) -> None:
        if self.timer:
            self.timer.cancel()


class FileDelivery(SubscriptionLoops):
    """One task for each subscription with a bucket, which has the messages of the file to come."""

    files: MessageFiles | None = None

    def __init__(self, broker: Broker, clock: Clock, agent: ApiCaller) -> None:
        super().__init__(broker, clock)
        self._agent = agent

    def _is_wanted(self, live: LiveSubscription) -> bool:
        return bool(live.state.cloud_storage_config.bucket)

    async def _run(self, live: LiveSubscription) -> None:
        batch = FileBatch()
        try:
            while True:
                changed, config = live.changed, live.state.cloud_storage_config
                most, most_bytes = batch.room(config)
                taken = most and self._broker.take(
                    live, most=most, deadline=_LEASE, most_bytes=most_bytes
                )
                if taken:
                    batch.add(taken)
                    if not batch.timer:
                        wait = self._clock.sleep(seconds(config.max_duration))
                        batch.timer = asyncio.create_task(wait)
                elif most and not (batch.timer and batch.timer.done()):
                    await _first(changed.wait(), batch.timer)
                elif self._write(live, batch.entries):
                    batch.end()
                    batch = FileBatch()
                else:
                    await self._clock.sleep(_AGAIN)
        finally:
            batch.end()
            self._broker.extend(live, [(ack_id_of(each), 0.0) for each in batch.entries])

    def _write(self, live: LiveSubscription, batch: list[BacklogEntry]) -> bool:
        """Write a file and acknowledge its messages; return whether that was possible."""
        config = live.state.cloud_storage_config
        email = config.service_account_email
        writer = ApiCaller(email) if email else self._agent
        data = b"".join(bytes(each.message.body.data) + b"\n" for each in batch)
        name = _name(config, self._clock.now())
        try:
            if self.files is None:
                raise InvalidArgument("There is no emulated Cloud Storage.")
            self.files.write(writer, config.bucket, name, data, "text/plain")
        except (CloudError, OSError, sqlite3.Error) as error:  # no right on it, or a full disk
            log.warning("%s: gs://%s/%s was not written: %s", live.name, config.bucket, name, error)
            return False
        self._broker.ack(live, [ack_id_of(each) for each in batch])
        return True


async def _first(change: Coroutine[Any, Any, Any], timer: asyncio.Task[None] | None) -> None:
    """Wait for a change or the end of a timer, if there is one."""
    task = asyncio.create_task(change)
    try:
        await asyncio.wait(filter(None, (task, timer)), return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()


def _name(config: Any, now: float) -> str:
    wanted = config.filename_datetime_format or _DEFAULT_FORMAT
    pattern = _PART.sub(lambda part: _PARTS[part[0]], wanted.replace("%", "%%"))
    moment = dt.datetime.fromtimestamp(now, dt.UTC).strftime(pattern)
    return f"{config.filename_prefix}{moment}_{secrets.token_hex(3)}{config.filename_suffix}"
