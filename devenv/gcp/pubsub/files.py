"""Subscriptions that write their messages to Cloud Storage, as files of text.

See https://docs.cloud.google.com/pubsub/docs/create-cloudstorage-subscription. A message is acknowledged
when its file is written; messages that wait for their file are delivered again after a stop.
"""

import asyncio
import datetime as dt
import logging
import re
import secrets
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
_AGAIN = 10.0  # seconds until a file that could not be written is tried again


class MessageFiles(Protocol):
    """Cloud Storage, as subscriptions use it."""

    def write(
        self, caller: ApiCaller, bucket: str, name: str, data: bytes, content_type: str
    ) -> None:
        """Create an object. Raises CloudError."""
        ...


class FileDelivery(SubscriptionLoops):
    """One task for each subscription with a bucket, which has the messages of the file to come."""

    files: MessageFiles | None = None

    def __init__(self, broker: Broker, clock: Clock, agent: ApiCaller) -> None:
        super().__init__(broker)
        self._clock = clock
        self._agent = agent

    def _is_wanted(self, live: LiveSubscription) -> bool:
        return bool(live.state.cloud_storage_config.bucket)

    async def _run(self, live: LiveSubscription) -> None:
        batch: list[BacklogEntry] = []
        due = 0.0
        while True:
            changed, config = live.changed, live.state.cloud_storage_config
            lease = seconds(config.max_duration) + 2 * _AGAIN
            room = min(_TAKEN, (config.max_messages or _TAKEN + len(batch)) - len(batch))
            taken = self._broker.take(live, most=room, deadline=lease, most_bytes=_TAKEN_BYTES)
            if taken and not batch:
                due = self._clock.now() + seconds(config.max_duration)
            batch += taken
            if batch and (self._clock.now() >= due or _is_full(config, batch)):
                if self._write(live, batch):
                    batch = []
                else:
                    due = self._clock.now() + _AGAIN
                    self._broker.extend(live, [(ack_id_of(each), lease) for each in batch])
                    await self._clock.sleep(_AGAIN)
            elif not taken:
                await self._wait(changed, due if batch else None)

    async def _wait(self, changed: asyncio.Event, due: float | None) -> None:
        """Wait for a message, or for the moment that a file is due."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(changed.wait())]
        if due is not None:
            waits.append(asyncio.create_task(self._clock.sleep(due - self._clock.now())))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

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
        except CloudError as error:
            log.warning("%s: gs://%s/%s was not written: %s", live.name, config.bucket, name, error)
            return False
        self._broker.ack(live, [ack_id_of(each) for each in batch])
        return True


def _is_full(config: Any, batch: list[BacklogEntry]) -> bool:
    if config.max_messages and len(batch) >= config.max_messages:
        return True
    size = sum(len(each.message.body.data) + 1 for each in batch)
    return bool(config.max_bytes and size >= config.max_bytes)


def _name(config: Any, now: float) -> str:
    wanted = config.filename_datetime_format or _DEFAULT_FORMAT
    pattern = _PART.sub(lambda part: _PARTS[part[0]], wanted.replace("%", "%%"))
    moment = dt.datetime.fromtimestamp(now, dt.UTC).strftime(pattern)
    return f"{config.filename_prefix}{moment}_{secrets.token_hex(3)}{config.filename_suffix}"
