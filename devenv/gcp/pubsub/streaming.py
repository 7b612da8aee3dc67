"""StreamingPull: messages to a client as they come, its acknowledgements back, with flow control."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.pubsub.broker import Broker, ack_id_of
from devenv.gcp.pubsub.rules import LEAST_DEADLINE, MOST_BYTES, MOST_DEADLINE, MOST_MESSAGES
from devenv.gcp.pubsub.state import LiveSubscription
from devenv.gcp.pubsub.subscriptions import SubscriptionMethods, check_deadline, received
from devenv.gcp.rpc import StreamRpc

types = client_types("google.pubsub_v1")

_FIRST_ONLY = (
    "subscription",
    "max_outstanding_messages",
    "max_outstanding_bytes",
    "protocol_version",
)
Request, Response = types.StreamingPullRequest.pb(), types.StreamingPullResponse.pb()


class StreamingPull:
    """The streaming method of subscriptions."""

    def __init__(self, methods: SubscriptionMethods, broker: Broker) -> None:
        self._methods = methods
        self._broker = broker

    def rpc(self) -> StreamRpc:
        method = "google.pubsub.v1.Subscriber/StreamingPull"
        return StreamRpc(method, Request, Response, self.pull)

    async def pull(self, requests: AsyncIterator[Any], call: ApiCall) -> AsyncGenerator[Any, None]:
        """Yield deliveries until the client ends the stream. Raises CloudError."""
        first = await anext(requests, None)
        if first is None or not first.subscription:
            raise InvalidArgument("The first request of a stream must name a subscription.")
        live = self._methods.pullable(first.subscription, call)
        stream = _Stream(self._broker, live, first)
        reading = asyncio.create_task(stream.read(requests))
        try:
            yield stream.properties()
            while True:
                self._methods.pullable(first.subscription, call)
                changed = (live.changed, stream.changed)
                stream.changed.clear()
                if answer := stream.answer():
                    yield answer
                    continue
                if reading.done():
                    reading.result()
                    return
                await _first_of(reading, *changed)
        finally:
            reading.cancel()


class _Stream:
    """One stream: its flow control, and the confirmations that exactly-once delivery wants."""

    def __init__(self, broker: Broker, live: LiveSubscription, first: Any) -> None:
        self._broker = broker
        self._live = live
        self._deadline = _stream_deadline(first.stream_ack_deadline_seconds)
        self._most = first.max_outstanding_messages
        self._most_bytes = first.max_outstanding_bytes
        self._outstanding: dict[str, int] = {}  # bytes of the messages by ack id, with flow control
        self._confirmed = Response()
        self.changed = asyncio.Event()
        self._apply(first)

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Apply what the client sends until it has ended its side."""
        async for request in requests:
            for name in _FIRST_ONLY:
                if getattr(request, name):
                    raise InvalidArgument(f"{name} must be set in a stream's first request only.")
            if request.stream_ack_deadline_seconds:
                self._deadline = _stream_deadline(request.stream_ack_deadline_seconds)
            self._apply(request)
            self.changed.set()

    def properties(self) -> Any:
        """Return the first answer, which tells what the subscription guarantees."""
        return Response(
            subscription_properties={
                "exactly_once_delivery_enabled": self._live.exactly_once,
                "message_ordering_enabled": self._live.state.enable_message_ordering,
            }
        )

    def answer(self) -> Any:
        """Return the next deliveries and confirmations, None if there are none."""
        response, self._confirmed = self._confirmed, Response()
        room, room_bytes = self._room()
        if room > 0 and room_bytes > 0:
            for entry in self._broker.take(
                self._live, most=room, deadline=self._deadline, most_bytes=room_bytes
            ):
                if self._most > 0 or self._most_bytes > 0:
                    self._outstanding[ack_id_of(entry)] = entry.message.size
                response.received_messages.append(received(self._live, entry))
        if not response.ByteSize():
            return None
        response.subscription_properties.CopyFrom(self.properties().subscription_properties)
        return response

    def _room(self) -> tuple[int, int]:
        """Return how many messages and bytes may still be sent to the client."""
        for ack_id in [each for each in self._outstanding if not self._holds(each)]:
            del self._outstanding[ack_id]
        room = self._most - len(self._outstanding) if self._most > 0 else MOST_MESSAGES
        used = sum(self._outstanding.values()) if self._most_bytes > 0 else 0
        room_bytes = self._most_bytes - used if self._most_bytes > 0 else MOST_BYTES
        return min(room, MOST_MESSAGES), room_bytes

    def _holds(self, ack_id: str) -> bool:
        return self._broker.holds(self._live, ack_id)

    def _apply(self, request: Any) -> None:
        if len(request.modify_deadline_seconds) != len(request.modify_deadline_ack_ids):
            raise InvalidArgument(
                "modify_deadline_seconds and modify_deadline_ack_ids must have the same length."
            )
        if request.ack_ids:
            expired = self._broker.ack(self._live, request.ack_ids)
            _confirm(self._confirmed.acknowledge_confirmation, request.ack_ids, expired)
        if ids := request.modify_deadline_ack_ids:
            deadlines = map(check_deadline, request.modify_deadline_seconds)
            expired = self._broker.extend(self._live, zip(ids, deadlines, strict=True))
            _confirm(self._confirmed.modify_ack_deadline_confirmation, ids, expired)
        for ack_id in request.ack_ids:
            self._outstanding.pop(ack_id, None)
        if not self._live.exactly_once:
            self._confirmed.Clear()


def _confirm(confirmation: Any, ack_ids: Any, expired: list[str]) -> None:
    invalid = set(expired)
    confirmation.ack_ids.extend(each for each in ack_ids if each not in invalid)
    confirmation.invalid_ack_ids.extend(expired)


def _stream_deadline(deadline: int) -> float:
    if not LEAST_DEADLINE <= deadline <= MOST_DEADLINE:
        raise InvalidArgument(
            f"Invalid stream ack deadline given: {deadline}. It must be between {LEAST_DEADLINE} and "
            f"{MOST_DEADLINE} seconds."
        )
    return float(deadline)


async def _first_of(reading: asyncio.Task[None], *events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait((reading, *waits), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
