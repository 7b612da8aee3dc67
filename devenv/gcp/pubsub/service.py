"""Pub/Sub v1 as the server wires it, with the topics and subscriptions of devenv.toml."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from google.protobuf.json_format import MessageToDict

from devenv.gcp.caller import ApiCaller, Guard, Minter
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig, SubscriptionConfig
from devenv.gcp.delivery import Ready, Send, always_ready
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.messages import set_moment
from devenv.gcp.pubsub.backlog import BacklogEntry
from devenv.gcp.pubsub.broker import Broker
from devenv.gcp.pubsub.context import PubSubContext
from devenv.gcp.pubsub.files import FileDelivery, MessageFiles
from devenv.gcp.pubsub.push import PushDelivery
from devenv.gcp.pubsub.rules import (
    PubsubMessage,
    PubSubNames,
    Subscription,
    Topic,
    check_messages,
    check_topic,
    complete_subscription,
)
from devenv.gcp.pubsub.schemas import DELETED_SCHEMA, PubSubSchemas
from devenv.gcp.pubsub.state import LiveSubscription, PubSubStore
from devenv.gcp.pubsub.streaming import StreamingPull
from devenv.gcp.pubsub.subscriptions import SubscriptionMethods
from devenv.gcp.pubsub.topics import TopicMethods
from devenv.gcp.rpc import Rpc, StreamRpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import DeclaredNames, Store

log = logging.getLogger(__name__)
_MOST_PREVIEWED, _MOST_DATA = 100, 20_000
_LONGEST_ID = 19  # digits
# Keys of a declared subscription that have no effect without another one.
_NEEDS = {
    "account": "push",
    "audience": "account",
    "max_delivery_attempts": "dead_letter_topic",
    "min_backoff": "max_backoff",
}
_DEFAULTS = SubscriptionConfig("", "")


class PubSubService(CloudService):
    """Topics, subscriptions and messages; pushes leave through `send` once targets are `ready`."""

    def __init__(  # noqa: PLR0913 - the parts of the cloud, by name
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        minter: Minter,
        send: Send,
        ready: Ready = always_ready,
    ) -> None:
        self._config = config
        self._guard = guard
        self._names = PubSubNames(config)
        # Pub/Sub moves dead letters as an account of its own, which needs both permissions.
        self._agent = ApiCaller(f"service-{config.number}@gcp-sa-pubsub.iam.gserviceaccount.com")
        self.broker = Broker(PubSubStore(store), clock, self._may_forward)
        self._push = PushDelivery(self.broker, clock, minter, send, ready)
        self._files = FileDelivery(self.broker, clock, self._agent)
        context = PubSubContext(
            config=config,
            names=self._names,
            guard=guard,
            minter=minter,
            clock=clock,
            broker=self.broker,
            agent=self._agent,
        )
        self._schemas = PubSubSchemas(self._names, guard, store, clock, self._detach_schema)
        self._topics = TopicMethods(context, self._schemas)
        self._subscriptions = SubscriptionMethods(context, self._push, self._files)
        self._context = context
        self._declared_names = DeclaredNames(store.table("pubsub_declared"))

    def use_storage(self, files: MessageFiles) -> None:
        """Let subscriptions write to a Cloud Storage."""
        self._files.files = files

    def rpcs(self) -> Iterator[Rpc | StreamRpc]:
        yield from self._topics.rpcs()
        yield from self._subscriptions.rpcs()
        yield from self._schemas.rpcs()
        yield StreamingPull(self._subscriptions, self.broker).rpc()

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        """Return one kind: clients ask for the policies of all three types by one method."""

        def find(resource: str) -> str:
            name = self._names.any(resource)
            match name.split("/")[2]:
                case "topics":
                    self._context.topic(name)
                case "subscriptions":
                    self._context.subscription(name)
                case _:
                    self._context.snapshot(name)
            return name

        kinds = ("topics", "subscriptions", "snapshots")
        paths = tuple(f"/v1/{{resource=projects/*/{kind}/*}}" for kind in kinds)
        return (PolicyKind("google.iam.v1.IAMPolicy", paths, "pubsub.{}", find, reading="GET"),)

    async def start(self) -> None:
        """Create what devenv.toml names, delete what it names no more, and deliver what waits."""
        topics = {self._full("topics", each.name): each for each in self._config.topics}
        declared = {
            self._full("subscriptions", each.name): each for each in self._config.subscriptions
        }
        for name in self._declared_names.replace([*topics, *declared]):
            self._drop(name)
        for name, topic in topics.items():
            wanted = Topic()
            if topic.retention:
                set_moment(wanted.message_retention_duration, topic.retention)
            check_topic(wanted)
            self._topics.put(name, wanted)
        for name, subscription in declared.items():
            self._declare(name, subscription)
        # Other services publish from the event loop, which must not parse then.
        for live in list(self.broker.saved.topics.values()):
            with suppress(InvalidArgument):  # of an older version, which admitted more
                await self._schemas.prepare(live.state)
        self.broker.start()
        self._push.start()
        self._files.start()

    async def stop(self) -> None:
        await self._push.stop()
        await self._files.stop()
        self.broker.stop()

    def has(self, topic: str) -> bool:
        """Return whether the topic of a full name exists."""
        return topic in self.broker.saved.topics

    def take_back(self, seconds: float) -> None:
        """Let leases and pauses end so much earlier, after the clock has lost these seconds."""
        self.broker.take_back(seconds)

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish a message of another service, whose own account may do so. Raises CloudError."""
        live = self._context.topic(self._names.topic(topic))
        messages = [PubsubMessage(data=data, attributes=attributes)]
        check_messages(messages)
        self.broker.publish(live, self._schemas.admitted(live.state, messages))

    def overview(self, _query: Mapping[str, str]) -> dict[str, Any]:
        """Return the topics with their subscriptions and depths, for the control API."""
        saved = self.broker.saved
        subscriptions = []
        for _, live in sorted(saved.subscriptions.items()):
            self.broker.settle(live)
            subscriptions.append(_overview_of(live))
        return {"topics": sorted(saved.topics), "subscriptions": subscriptions}

    def preview(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the first messages that a subscription has not had acknowledged, without leases.

        `after` is the id of a message to go on behind. Data are cut at 20,000 bytes; `size` counts
        all of them. `next` is the id to go on behind, empty at the end. Raises NotFound or
        InvalidArgument.
        """
        live = self._context.subscription(self._names.subscription(query.get("subscription", "")))
        after = query.get("after") or "0"
        if not (after.isdecimal() and len(after) <= _LONGEST_ID):
            raise InvalidArgument(f"after is {after[:100]!r}; it must be the id of a message.")
        self.broker.settle(live)
        found = list(islice(live.backlog.waiting(int(after)), _MOST_PREVIEWED + 1))
        shown = found[:_MOST_PREVIEWED]
        return {
            "messages": [_preview_of(entry) for entry in shown],
            "depth": live.backlog.unacked,
            "next": str(shown[-1].number) if len(found) > len(shown) else "",
        }

    def _may_forward(self, subscription: str, topic: str) -> None:
        self._guard.require(self._agent, "pubsub.subscriptions.consume", subscription)
        self._guard.require(self._agent, "pubsub.topics.publish", topic)

    def _detach_schema(self, name: str) -> None:
        """Let the topics of a deleted schema refuse messages, also when its name is used again."""
        for topic in self.broker.saved.topics.values():
            if topic.state.schema_settings.schema == name:
                with self.broker.saved.transaction():
                    topic.state.schema_settings.schema = DELETED_SCHEMA
                    self.broker.saved.put_topic(topic)

    def _drop(self, name: str) -> None:
        log.info("%s is no longer in devenv.toml: deleted", name)
        if live := self.broker.saved.subscriptions.get(name):
            self._subscriptions.drop(live)
        elif topic := self.broker.saved.topics.get(name):
            self.broker.delete_topic(topic)
            self._guard.forget(name)

    def _declare(self, name: str, declared: SubscriptionConfig) -> None:
        wanted = self._wanted(name, declared)
        for key in ("topic", "dead_letter_topic"):
            topic = getattr(declared, key)
            if topic and self._full("topics", topic) not in self.broker.saved.topics:
                raise InvalidArgument(
                    f"gcp.subscriptions: {declared.name} has the {key} {topic!r}, which gcp.topics "
                    "does not have."
                )
        live = self.broker.saved.subscriptions.get(name)
        fixed = ("topic", "filter", "enable_message_ordering")
        if live and any(getattr(live.state, each) != getattr(wanted, each) for each in fixed):
            log.warning("%s has another topic, filter or ordering: it begins anew", name)
            self._subscriptions.drop(live)
            live = None
        self._subscriptions.put(live or LiveSubscription(wanted), wanted)

    def _wanted(self, name: str, declared: SubscriptionConfig) -> Any:
        for key, needed in _NEEDS.items():
            if getattr(declared, key) != getattr(_DEFAULTS, key) and not getattr(declared, needed):
                raise InvalidArgument(
                    f"gcp.subscriptions: {declared.name} has {key}, which needs {needed}."
                )
        subscription = Subscription(
            name=name,
            topic=self._full("topics", declared.topic),
            ack_deadline_seconds=declared.ack_deadline,
            filter=declared.filter,
            enable_message_ordering=declared.ordered,
            enable_exactly_once_delivery=declared.exactly_once,
        )
        if declared.push:
            subscription.push_config.push_endpoint = declared.push
        if declared.push and declared.account:
            token = subscription.push_config.oidc_token
            token.service_account_email = self._config.email(declared.account)
            token.audience = declared.audience
        if declared.dead_letter_topic:
            policy = subscription.dead_letter_policy
            policy.dead_letter_topic = self._full("topics", declared.dead_letter_topic)
            policy.max_delivery_attempts = declared.max_delivery_attempts
        if declared.max_backoff:
            set_moment(subscription.retry_policy.minimum_backoff, declared.min_backoff)
            set_moment(subscription.retry_policy.maximum_backoff, declared.max_backoff)
        complete_subscription(subscription)
        return subscription

    def _full(self, kind: str, name: str) -> str:
        return self._names.any(f"projects/{self._config.project}/{kind}/{name}")


def _overview_of(live: LiveSubscription) -> dict[str, Any]:
    oldest = next(live.backlog.waiting(), None)
    return {
        "name": live.name,
        "topic": live.state.topic,
        "push": live.state.push_config.push_endpoint,
        "filter": live.state.filter,
        "detached": live.state.detached,
        "depth": live.backlog.unacked,
        "leased": live.backlog.leased,
        "oldest": oldest.message.published if oldest else None,
        "dead_letter_topic": live.state.dead_letter_policy.dead_letter_topic,
        "dead_letters": live.dead_letters,
    }


def _preview_of(entry: BacklogEntry) -> dict[str, Any]:
    body = entry.message.body
    shown = PubsubMessage(
        message_id=body.message_id,
        publish_time=body.publish_time,
        attributes=body.attributes,
        ordering_key=body.ordering_key,
        data=body.data[:_MOST_DATA],
    )
    return {
        **MessageToDict(shown),
        "size": len(body.data),
        "attempts": entry.attempts,
        "leased": bool(entry.lease),
    }
