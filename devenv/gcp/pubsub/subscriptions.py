"""google.pubsub.v1.Subscriber: subscriptions, their messages, and snapshots.

See https://cloud.google.com/pubsub/docs/reference/rpc.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import empty_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.errors import FailedPrecondition, InvalidArgument
from devenv.gcp.messages import moment
from devenv.gcp.pubsub.backlog import BacklogEntry
from devenv.gcp.pubsub.broker import ack_id_of, is_ack_id
from devenv.gcp.pubsub.context import PubSubContext, changed, method, page_of, require_new
from devenv.gcp.pubsub.files import FileDelivery
from devenv.gcp.pubsub.push import PushDelivery
from devenv.gcp.pubsub.rules import (
    MOST_BYTES,
    MOST_DEADLINE,
    MOST_MESSAGES,
    MOST_SNAPSHOTS,
    MOST_SUBSCRIPTIONS,
    Snapshot,
    Subscription,
    check_labels,
    complete_subscription,
)
from devenv.gcp.pubsub.state import LiveSnapshot, LiveSubscription
from devenv.gcp.rpc import HttpRule, Rpc

types = client_types("google.pubsub_v1")

_WAIT = 20.0  # seconds that Pull waits for a message; Google says only that it is bounded
_FIXED = {
    *("name", "topic", "enable_message_ordering", "filter", "detached", "state"),
    "topic_message_retention_duration",
}
_SUBSCRIPTION = "/v1/{subscription=projects/*/subscriptions/*}"
_SNAPSHOT = "/v1/{snapshot=projects/*/snapshots/*}"


class SubscriptionMethods:
    """The unary methods of subscriptions."""

    def __init__(self, context: PubSubContext, push: PushDelivery, files: FileDelivery) -> None:
        self._context = context
        self._names = context.names
        self._broker = context.broker
        self._push = push
        self._files = files

    def rpcs(self) -> Iterator[Rpc]:
        empty, snapshots = empty_pb2.Empty, "/v1/{project=projects/*}/snapshots"
        named = "/v1/{name=projects/*/subscriptions/*}"
        updated = "/v1/{subscription.name=projects/*/subscriptions/*}"
        detached, pulled = types.DetachSubscriptionResponse.pb(), types.PullResponse.pb()
        for name, response, handle, rule in (
            ("CreateSubscription", Subscription, self.create, HttpRule("PUT", named, "*")),
            ("GetSubscription", Subscription, self.get, HttpRule("GET", _SUBSCRIPTION)),
            ("UpdateSubscription", Subscription, self.update, HttpRule("PATCH", updated, "*")),
            ("ListSubscriptions", types.ListSubscriptionsResponse.pb(), self.list_subscriptions,
             HttpRule("GET", "/v1/{project=projects/*}/subscriptions")),
            ("DeleteSubscription", empty, self.delete, HttpRule("DELETE", _SUBSCRIPTION)),
            ("ModifyPushConfig", empty, self.modify_push, _post("modifyPushConfig")),
            ("Pull", pulled, self.pull, _post("pull")),
            ("Acknowledge", empty, self.acknowledge, _post("acknowledge")),
            ("ModifyAckDeadline", empty, self.modify_deadline, _post("modifyAckDeadline")),
            ("Seek", types.SeekResponse.pb(), self.seek, _post("seek")),
            ("CreateSnapshot", Snapshot, self.create_snapshot,
             HttpRule("PUT", "/v1/{name=projects/*/snapshots/*}", "*")),
            ("GetSnapshot", Snapshot, self.get_snapshot, HttpRule("GET", _SNAPSHOT)),
            ("UpdateSnapshot", Snapshot, self.update_snapshot,
             HttpRule("PATCH", "/v1/{snapshot.name=projects/*/snapshots/*}", "*")),
            ("ListSnapshots", types.ListSnapshotsResponse.pb(), self.list_snapshots,
             HttpRule("GET", snapshots)),
            ("DeleteSnapshot", empty, self.delete_snapshot, HttpRule("DELETE", _SNAPSHOT)),
        ):  # fmt: skip
            yield method("Subscriber", name, response, handle, rule)
        rule = HttpRule("POST", f"{_SUBSCRIPTION}:detach")
        yield method("Publisher", "DetachSubscription", detached, self.detach, rule)

    async def create(self, request: Any, call: ApiCall) -> Any:
        name, topic = self._names.subscription(request.name), self._names.topic(request.topic)
        project = f"projects/{self._context.config.project}"
        self._context.allow(call.caller, "subscriptions.create", project)
        self._context.allow(call.caller, "topics.attachSubscription", topic)
        subscription = Subscription()
        subscription.CopyFrom(request)
        subscription.name, subscription.topic, subscription.detached = name, topic, False
        self._check(subscription, call)
        require_new(self._broker.saved.subscriptions, name, most=MOST_SUBSCRIPTIONS)
        self._context.topic(topic)
        return self.put(LiveSubscription(subscription), subscription)

    def put(self, live: LiveSubscription, subscription: Any) -> Any:
        """Store a subscription in this state, and return it."""
        with self._broker.saved.transaction():
            live.state = subscription
            self._broker.saved.put_subscription(live)
        self._broker.wake(live)
        self._push.follow(live)
        self._files.follow(live)
        return self._shown(live)

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._shown(self.find(request.subscription, call, "get"))

    async def update(self, request: Any, call: ApiCall) -> Any:
        live = self.find(request.subscription.name, call, "update")
        wanted, mask = request.subscription, request.update_mask
        subscription = changed(live.state, wanted, mask, immutable=_FIXED)
        self._check(subscription, call)
        return self.put(live, subscription)

    async def list_subscriptions(self, request: Any, call: ApiCall) -> Any:
        project = self._names.project(request.project)
        self._context.allow(call.caller, "subscriptions.list", project)
        known = self._broker.saved.subscriptions
        names, token = page_of(known, request)
        return types.ListSubscriptionsResponse.pb()(
            subscriptions=[self._shown(known[name]) for name in names], next_page_token=token
        )

    async def delete(self, request: Any, call: ApiCall) -> Any:
        live = self.find(request.subscription, call, "delete")
        self.drop(live)
        return empty_pb2.Empty()

    def drop(self, live: LiveSubscription) -> None:
        """Delete a subscription with its messages and its policy."""
        self._broker.forget(live)
        self._push.forget(live)
        self._files.forget(live)
        self._context.guard.forget(live.name)

    async def detach(self, request: Any, call: ApiCall) -> Any:
        live = self._context.subscription(self._names.subscription(request.subscription))
        resource = live.state.topic if "/" in live.state.topic else live.name
        self._context.allow(call.caller, "topics.detachSubscription", resource)
        self._broker.detach(live)
        self._push.follow(live)
        self._files.follow(live)
        return types.DetachSubscriptionResponse.pb()()

    async def modify_push(self, request: Any, call: ApiCall) -> Any:
        live = self.find(request.subscription, call, "update")
        subscription = Subscription()
        subscription.CopyFrom(live.state)
        subscription.push_config.CopyFrom(request.push_config)
        self._check(subscription, call)
        self.put(live, subscription)
        return empty_pb2.Empty()

    async def pull(self, request: Any, call: ApiCall) -> Any:
        """Return messages; wait a while for the first one, unless the caller wants no waiting."""
        live = self.pullable(request.subscription, call)
        if request.max_messages < 1:
            raise InvalidArgument("max_messages must be greater than 0.")
        most = min(request.max_messages, MOST_MESSAGES)
        waiting = None if request.return_immediately else self._context.clock.machine_sleep(_WAIT)
        timer = asyncio.ensure_future(waiting) if waiting else None
        try:
            while not (taken := self._take(live, most)) and timer and not timer.done():
                changed = asyncio.ensure_future(live.changed.wait())
                await asyncio.wait((changed, timer), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                live = self.pullable(request.subscription, call)
        finally:
            if timer:
                timer.cancel()
        return types.PullResponse.pb()(received_messages=[received(live, each) for each in taken])

    def _take(self, live: LiveSubscription, most: int) -> list[BacklogEntry]:
        deadline = live.state.ack_deadline_seconds
        return self._broker.take(live, most=most, deadline=deadline, most_bytes=MOST_BYTES)

    async def acknowledge(self, request: Any, call: ApiCall) -> Any:
        live = self.find(request.subscription, call, "consume")
        if not request.ack_ids:
            raise InvalidArgument("No ack ids specified.")
        _refuse_malformed(live, request.ack_ids)
        _refuse_expired(live, self._broker.ack(live, request.ack_ids))
        return empty_pb2.Empty()

    async def modify_deadline(self, request: Any, call: ApiCall) -> Any:
        live = self.find(request.subscription, call, "consume")
        if not request.ack_ids:
            raise InvalidArgument("No ack ids specified.")
        _refuse_malformed(live, request.ack_ids)
        deadline = check_deadline(request.ack_deadline_seconds)
        deadlines = ((ack_id, deadline) for ack_id in request.ack_ids)
        _refuse_expired(live, self._broker.extend(live, deadlines))
        return empty_pb2.Empty()

    async def seek(self, request: Any, call: ApiCall) -> Any:
        live = self.consumable(request.subscription, call)
        if request.WhichOneof("target") == "time":
            self._broker.seek_time(live, moment(request.time))
        elif request.WhichOneof("target") == "snapshot":
            name = self._names.snapshot(request.snapshot)
            self._context.allow(call.caller, "snapshots.seek", name)
            snapshot = self._context.snapshot(name)
            if snapshot.state.topic != live.state.topic:
                raise InvalidArgument(
                    "The snapshot and the subscription are not of the same topic: "
                    f"{snapshot.state.topic} and {live.state.topic}."
                )
            self._broker.seek_snapshot(live, snapshot)
        else:
            raise InvalidArgument("The request has no target: give a time or a snapshot.")
        return types.SeekResponse.pb()()

    async def create_snapshot(self, request: Any, call: ApiCall) -> Any:
        name = self._names.snapshot(request.name)
        project = f"projects/{self._context.config.project}"
        self._context.allow(call.caller, "snapshots.create", project)
        live = self.consumable(request.subscription, call)
        check_labels(request.labels)
        self._broker.expire_snapshots()
        require_new(self._broker.saved.snapshots, name, most=MOST_SNAPSHOTS)
        state = Snapshot(name=name, topic=live.state.topic, labels=request.labels)
        return self._broker.snapshot(live, state).state

    async def get_snapshot(self, request: Any, call: ApiCall) -> Any:
        return self._find_snapshot(request.snapshot, call, "get").state

    async def update_snapshot(self, request: Any, call: ApiCall) -> Any:
        snapshot = self._find_snapshot(request.snapshot.name, call, "update")
        wanted, mask = request.snapshot, request.update_mask
        state = changed(snapshot.state, wanted, mask, immutable={"name", "topic"})
        check_labels(state.labels)
        with self._broker.saved.transaction():
            snapshot.state = state
            self._broker.saved.put_snapshot(snapshot)
        return state

    async def list_snapshots(self, request: Any, call: ApiCall) -> Any:
        project = self._names.project(request.project)
        self._context.allow(call.caller, "snapshots.list", project)
        self._broker.expire_snapshots()
        known = self._broker.saved.snapshots
        names, token = page_of(known, request)
        return types.ListSnapshotsResponse.pb()(
            snapshots=[known[name].state for name in names], next_page_token=token
        )

    async def delete_snapshot(self, request: Any, call: ApiCall) -> Any:
        snapshot = self._find_snapshot(request.snapshot, call, "delete")
        with self._broker.saved.transaction():
            self._broker.saved.drop_snapshot(snapshot)
        self._context.guard.forget(snapshot.state.name)
        return empty_pb2.Empty()

    def find(self, text: str, call: ApiCall, verb: str) -> LiveSubscription:
        """Return a subscription on which the caller has a permission. Raises CloudError."""
        name = self._names.subscription(text)
        self._context.allow(call.caller, f"subscriptions.{verb}", name)
        return self._context.subscription(name)

    def consumable(self, text: str, call: ApiCall) -> LiveSubscription:
        """Return a subscription that is not detached, for a caller who may consume it."""
        live = self.find(text, call, "consume")
        if live.state.detached:
            raise FailedPrecondition(f"Subscription {live.name} is detached from its topic.")
        return live

    def pullable(self, text: str, call: ApiCall) -> LiveSubscription:
        """Return a subscription that may be consumed by pulling: messages go nowhere else."""
        live = self.consumable(text, call)
        if live.state.push_config.push_endpoint or live.state.cloud_storage_config.bucket:
            raise FailedPrecondition("This method is not supported for this subscription type.")
        return live

    def _find_snapshot(self, text: str, call: ApiCall, verb: str) -> LiveSnapshot:
        name = self._names.snapshot(text)
        self._context.allow(call.caller, f"snapshots.{verb}", name)
        return self._context.snapshot(name)

    def _check(self, subscription: Any, call: ApiCall) -> None:
        complete_subscription(subscription)
        policy = subscription.dead_letter_policy
        if policy.dead_letter_topic:
            policy.dead_letter_topic = self._names.topic(policy.dead_letter_topic)
        storage = subscription.cloud_storage_config
        if storage.bucket and not storage.service_account_email:
            self._context.check_agent("storage.buckets.get", f"projects/_/buckets/{storage.bucket}")
        push = subscription.push_config.oidc_token
        for email in filter(None, (push.service_account_email, storage.service_account_email)):
            if not self._context.minter.knows(email):
                raise InvalidArgument(f"Service account {email[:200]} does not exist.")
            resource = f"projects/{self._context.config.project}/serviceAccounts/{email}"
            self._context.guard.require(call.caller, "iam.serviceAccounts.actAs", resource)

    def _shown(self, live: LiveSubscription) -> Any:
        """Return a subscription with what depends on its topic."""
        topic = self._broker.saved.topics.get(live.state.topic)
        shown = Subscription()
        shown.CopyFrom(live.state)
        if topic is not None and topic.state.HasField("message_retention_duration"):
            retention = topic.state.message_retention_duration
            shown.topic_message_retention_duration.CopyFrom(retention)
        return shown


def received(live: LiveSubscription, entry: BacklogEntry) -> Any:
    """Return a delivery as clients get it; attempts are told to those with a dead-letter topic."""
    attempts = entry.attempts if live.state.HasField("dead_letter_policy") else 0
    return types.ReceivedMessage.pb()(
        ack_id=ack_id_of(entry), message=entry.message.body, delivery_attempt=attempts
    )


def check_deadline(deadline: int) -> float:
    """Return an ack deadline of a request. Raises InvalidArgument."""
    if not 0 <= deadline <= MOST_DEADLINE:
        raise InvalidArgument(
            f"Invalid ack deadline given: {deadline}. It must be between 0 and {MOST_DEADLINE} "
            "seconds."
        )
    return float(deadline)


def _refuse_malformed(live: LiveSubscription, ack_ids: Iterable[str]) -> None:
    """Refuse what is no ack id at all; exactly-once delivery names it with those that are over."""
    wrong = next((each for each in ack_ids if not is_ack_id(each)), None)
    if wrong is not None and not live.exactly_once:
        raise InvalidArgument(
            f"You have passed an invalid ack ID to the service (ack_id={wrong[:100]})."
        )


def _refuse_expired(live: LiveSubscription, expired: list[str]) -> None:
    """Name the ids that were not accepted, which matter to exactly-once delivery alone."""
    if not expired or not live.exactly_once:
        return
    info = ErrorInfo(
        reason="EXACTLY_ONCE_ACKID_FAILURE",
        domain="pubsub.googleapis.com",
        metadata=dict.fromkeys(expired, "PERMANENT_FAILURE_INVALID_ACK_ID"),
    )
    raise InvalidArgument(
        "Some acknowledgement ids in the request were invalid. This could be because the "
        "acknowledgement ids have expired or the acknowledgement ids were malformed.",
        (info,),
    )


def _post(verb: str) -> HttpRule:
    return HttpRule("POST", f"{_SUBSCRIPTION}:{verb}", "*")
