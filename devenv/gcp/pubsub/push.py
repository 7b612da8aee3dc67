"""Push subscriptions: each message is an HTTP request to an endpoint, with an OIDC token if asked.

See https://cloud.google.com/pubsub/docs/push. The status codes 102, 200, 201, 202 and 204
acknowledge a message; anything else, and no answer, returns it to the backlog.
"""

import asyncio
import json
import logging
from typing import Any

from google.protobuf.json_format import MessageToDict

from devenv.gcp.caller import Minter
from devenv.gcp.clock import Clock
from devenv.gcp.delivery import DeliveryFailed, DeliveryRequest, Ready, Send, clean_headers
from devenv.gcp.errors import CloudError
from devenv.gcp.pubsub.backlog import BacklogEntry
from devenv.gcp.pubsub.broker import Broker, ack_id_of
from devenv.gcp.pubsub.loops import SubscriptionLoops
from devenv.gcp.pubsub.rules import MOST_BYTES
from devenv.gcp.pubsub.state import LiveSubscription

log = logging.getLogger(__name__)
_ACKNOWLEDGED = {102, 200, 201, 202, 204}
_MOST_AT_ONCE = 20
_AGENT = "CloudPubSub-Google"


class PushDelivery(SubscriptionLoops):
    """One task for each push subscription, and one for each of its requests in flight.

    The first request waits until the endpoint is `ready`: the stack starts its services after this
    cloud, and attempts in between would count against a dead-letter policy.
    """

    def __init__(
        self, broker: Broker, clock: Clock, minter: Minter, send: Send, ready: Ready
    ) -> None:
        super().__init__(broker, clock)
        self._minter = minter
        self._send = send
        self._ready = ready
        self._requests: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        requests = list(self._requests)
        for task in requests:
            task.cancel()
        await super().stop()
        await asyncio.gather(*requests, return_exceptions=True)

    def _is_wanted(self, live: LiveSubscription) -> bool:
        return bool(live.state.push_config.push_endpoint)

    async def _run(self, live: LiveSubscription) -> None:
        room = asyncio.Semaphore(_MOST_AT_ONCE)
        await self._ready(live.state.push_config.push_endpoint)
        while True:
            await room.acquire()
            changed = live.changed  # taken first: a change from here on is not missed
            deadline = live.state.ack_deadline_seconds
            # A request has one message, and one key has one request in flight.
            taken = self._broker.take(live, most=1, deadline=deadline + 1, most_bytes=MOST_BYTES)
            if not taken:
                room.release()
                await changed.wait()
                continue
            request = asyncio.create_task(self._deliver(live, taken[0], ack_id_of(taken[0])))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
            request.add_done_callback(lambda _request: room.release())

    async def _deliver(self, live: LiveSubscription, entry: BacklogEntry, ack_id: str) -> None:
        try:
            status = (await self._send(self._request(live, entry))).status
        except TimeoutError:
            status = 504
        except (DeliveryFailed, CloudError) as error:
            log.warning("Message %s was not pushed: %s", entry.number, error)
            status = 503
        except Exception:
            log.exception("Message %s was not pushed", entry.number)
            status = 500
        if status in _ACKNOWLEDGED:
            self._broker.ack(live, [ack_id])
        else:
            log.warning(
                "%s: %s answered %d", live.name, live.state.push_config.push_endpoint, status
            )
            self._broker.extend(live, [(ack_id, 0.0)])

    def _request(self, live: LiveSubscription, entry: BacklogEntry) -> DeliveryRequest:
        push = live.state.push_config
        bare = push.HasField("no_wrapper")
        headers = _metadata(live, entry) if bare else {"Content-Type": "application/json"}
        headers = clean_headers(headers.items(), _AGENT)
        if bare and push.no_wrapper.write_metadata:
            headers |= _own_headers(live, entry)
        if push.HasField("oidc_token"):
            token = push.oidc_token
            audience = token.audience or push.push_endpoint
            minted = self._minter.id_token(token.service_account_email, audience)
            headers["Authorization"] = f"Bearer {minted}"
        return DeliveryRequest(
            method="POST",
            url=push.push_endpoint,
            headers=headers,
            body=bytes(entry.message.body.data) if bare else wrapped(live, entry),
            deadline=float(live.state.ack_deadline_seconds),
        )


def wrapped(live: LiveSubscription, entry: BacklogEntry) -> bytes:
    """Return the JSON body of a wrapped message, whose id and time Google writes in two ways."""
    message: dict[str, Any] = MessageToDict(entry.message.body)
    message["message_id"] = message["messageId"]
    message["publish_time"] = message["publishTime"]
    body: dict[str, Any] = {"message": message, "subscription": live.name}
    if live.state.HasField("dead_letter_policy"):
        body["deliveryAttempt"] = entry.attempts
    return json.dumps(body).encode()


def _metadata(live: LiveSubscription, entry: BacklogEntry) -> dict[str, str]:
    """Return the attributes as headers, if the subscription writes metadata."""
    if not live.state.push_config.no_wrapper.write_metadata:
        return {}
    return dict(entry.message.body.attributes)


def _own_headers(live: LiveSubscription, entry: BacklogEntry) -> dict[str, str]:
    message = MessageToDict(entry.message.body)
    headers = {
        "x-goog-pubsub-subscription-name": live.name,
        "x-goog-pubsub-message-id": message["messageId"],
        "x-goog-pubsub-publish-time": message["publishTime"],
    }
    if key := entry.message.body.ordering_key:
        headers["x-goog-pubsub-ordering-key"] = key
    if live.state.HasField("dead_letter_policy"):
        headers["x-goog-pubsub-delivery-attempt"] = str(entry.attempts)
    return headers
