"""Topics, subscriptions, snapshots and messages on disk, and as the broker has them in memory.

Everything is written before it is answered. Leases are not: after a restart a message that was not
acknowledged is delivered again, as at any time with Pub/Sub.
"""

import asyncio
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.errors import ResourceExhausted
from devenv.gcp.messages import moment, seconds
from devenv.gcp.pubsub.backlog import Backlog, BacklogEntry, StoredMessage
from devenv.gcp.pubsub.filters import MessageFilter, parse_filter
from devenv.gcp.pubsub.rules import Snapshot, Subscription, Topic
from devenv.gcp.store import Store

types = client_types("google.pubsub_v1")

MOST_STORED = 1 << 30  # bytes of all messages: what an emulator keeps in memory is bounded
_MESSAGE_COST, _ENTRY_COST = 1024, 512  # bytes of memory beside a message's own, and of each holder
_PUSH_LEAST, _PUSH_MOST = 0.1, 60.0  # seconds: push backoff without a retry policy
_ENTRY = struct.Struct("<I?")  # deliveries, and whether it is acknowledged
_NUMBER = struct.Struct("<Q")
_NONE: Mapping[str, Any] = {}
_Container = types.PublishRequest.pb()  # one message, and the topic that retains it


@dataclass(slots=True, eq=False)
class LiveTopic:
    """A topic and the messages that it retains itself. `state` is a google.pubsub.v1.Topic."""

    state: Any
    retained: dict[int, StoredMessage] = field(default_factory=dict)

    @property
    def retention(self) -> float:
        return seconds(self.state.message_retention_duration)


@dataclass(slots=True, eq=False)
class LiveSubscription:
    """A subscription and its backlog. `state` is a google.pubsub.v1.Subscription.

    `changed` is set when a message may be delivered that could not be before; `dead_letters`
    counts the messages that were moved to the dead-letter topic since the start.
    """

    state: Any
    backlog: Backlog = field(init=False)
    matches: MessageFilter = field(init=False)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    dead_letters: int = 0

    def __post_init__(self) -> None:
        self.begin(self.state)

    def begin(self, state: Any) -> None:
        """Have this state and no messages."""
        self.state = state
        self.backlog = Backlog(state.enable_message_ordering, self._pause)
        self.matches = parse_filter(state.filter)

    @property
    def name(self) -> str:
        return str(self.state.name)

    @property
    def retention(self) -> float:
        return seconds(self.state.message_retention_duration)

    @property
    def exactly_once(self) -> bool:
        return bool(self.state.enable_exactly_once_delivery)

    def _pause(self, entry: BacklogEntry) -> float:
        if self.state.HasField("retry_policy"):
            policy = self.state.retry_policy
            least, most = seconds(policy.minimum_backoff), seconds(policy.maximum_backoff)
        elif self.state.push_config.push_endpoint:
            least, most = _PUSH_LEAST, _PUSH_MOST
        else:
            return 0.0
        return float(min(least * 2.0 ** min(max(entry.attempts - 1, 0), 64), most))


@dataclass(slots=True, eq=False)
class LiveSnapshot:
    """The messages of a subscription that were not acknowledged, and the last one before it."""

    state: Any
    last: int
    messages: dict[int, StoredMessage] = field(default_factory=dict)


class PubSubStore:
    """The rows of all of them; a message goes once nothing holds it any more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._topics = store.table("pubsub_topics")
        self._subscriptions = store.table("pubsub_subscriptions")
        self._snapshots = store.table("pubsub_snapshots")
        self._messages = store.table("pubsub_messages")
        self._entries = store.table("pubsub_backlog")
        self._snapshot_messages = store.table("pubsub_snapshot_messages")
        self._numbers = store.table("pubsub_numbers")
        self.topics: dict[str, LiveTopic] = {}
        self.subscriptions: dict[str, LiveSubscription] = {}
        self.snapshots: dict[str, LiveSnapshot] = {}
        # Entries as they were before this transaction, or the last one, acknowledged them.
        self._acked: dict[str, BacklogEntry] = {}
        self._last = self._stored = 0
        self._load()

    def transaction(self) -> AbstractContextManager[None]:
        """Commit all changes inside. If that fails, have again in memory what was there before."""
        known = dict(self.topics), dict(self.subscriptions)
        self._acked.clear()
        return self._store.transaction(lambda: self._load(*known))

    @property
    def last(self) -> int:
        """The number of the message that was published last."""
        return self._last

    def put_topic(self, topic: LiveTopic) -> None:
        self.topics[topic.state.name] = topic
        self._topics.put(topic.state.name, topic.state.SerializeToString())

    def drop_topic(self, topic: LiveTopic) -> None:
        for message in list(topic.retained.values()):
            self.unretain(topic, message)
        del self.topics[topic.state.name]
        self._topics.delete(topic.state.name)

    def put_subscription(self, subscription: LiveSubscription) -> None:
        self.subscriptions[subscription.name] = subscription
        self._subscriptions.put(subscription.name, subscription.state.SerializeToString())

    def drop_subscription(self, subscription: LiveSubscription) -> None:
        self.clear(subscription)
        del self.subscriptions[subscription.name]
        self._subscriptions.delete(subscription.name)

    def clear(self, subscription: LiveSubscription) -> None:
        """Forget all messages of a subscription."""
        # The last one first, which of a key with many messages costs least.
        for entry in reversed(list(subscription.backlog.entries.values())):
            self.ack(subscription, entry, keep=False)

    def put_snapshot(self, snapshot: LiveSnapshot) -> None:
        name = snapshot.state.name
        self.snapshots[name] = snapshot
        self._snapshots.put(name, _NUMBER.pack(snapshot.last) + snapshot.state.SerializeToString())

    def drop_snapshot(self, snapshot: LiveSnapshot) -> None:
        name = snapshot.state.name
        for number, message in snapshot.messages.items():
            self._snapshot_messages.delete(_key(name, number))
            self._release(message)
        del self.snapshots[name]
        self._snapshots.delete(name)

    def has_room(self, bodies: Sequence[Any] = (), *, holders: int = 0) -> bool:
        """Return whether messages, and further holders of messages, fit beside what is stored."""
        size: int = sum(body.ByteSize() + _MESSAGE_COST for body in bodies)
        return self._stored + size + holders * _ENTRY_COST <= MOST_STORED

    def require_room(self, bodies: Sequence[Any] = (), *, holders: int = 0) -> None:
        """Raise ResourceExhausted unless messages and holders fit beside what is stored."""
        if not self.has_room(bodies, holders=holders):
            raise ResourceExhausted(
                f"The messages of this emulator take {self._stored} of {MOST_STORED} bytes already; "
                "acknowledge some, or seek to a later time, first."
            )

    def add_message(self, topic: LiveTopic, body: Any, published: float) -> StoredMessage:
        """Store a new message with a number of its own; `unused` removes it if nothing holds it."""
        self._last = max(self._last + 1, int(published * 1e6))
        body.message_id = str(self._last)
        retained_by = str(topic.state.name) if topic.retention else ""
        message = StoredMessage(self._last, retained_by, body, published, body.ByteSize())
        self._numbers.put("last", _NUMBER.pack(self._last))
        self._write(message)
        self._stored += message.size + _MESSAGE_COST
        if topic.retention:
            self._hold(message)
            topic.retained[message.number] = message
        return message

    def unused(self, message: StoredMessage) -> None:
        """Remove a new message that no subscription and no topic has taken."""
        self._hold(message)
        self._release(message)

    def unretain(self, topic: LiveTopic, message: StoredMessage) -> None:
        """Let a topic retain a message no more; another one of its name will not have it."""
        del topic.retained[message.number]
        message.retained_by = ""
        self._release(message)
        if message.holders > 0:
            self._write(message)

    def deliver(self, subscription: LiveSubscription, message: StoredMessage) -> None:
        """Put a message into the backlog of a subscription."""
        self._hold(message)
        entry = BacklogEntry(message)
        subscription.backlog.add(entry)
        self.save(subscription, entry)

    def save(self, subscription: LiveSubscription, entry: BacklogEntry) -> None:
        row = _ENTRY.pack(entry.attempts, entry.acked)
        self._entries.put(_key(subscription.name, entry.number), row)

    def ack(self, subscription: LiveSubscription, entry: BacklogEntry, *, keep: bool) -> None:
        key = _key(subscription.name, entry.number)
        if entry.moment:
            self._acked.setdefault(key, replace(entry))
        subscription.backlog.ack(entry, keep=keep)
        if keep:
            self.save(subscription, entry)
        else:
            self._entries.delete(key)
            self._release(entry.message)

    def snapshot(self, state: Any, messages: Iterable[StoredMessage]) -> LiveSnapshot:
        """Store a new snapshot of these messages."""
        snapshot = LiveSnapshot(state, self._last, {each.number: each for each in messages})
        for message in snapshot.messages.values():
            self._hold(message)
            self._snapshot_messages.put(_key(state.name, message.number), b"")
        self.put_snapshot(snapshot)
        return snapshot

    def _write(self, message: StoredMessage) -> None:
        row = _Container(topic=message.retained_by, messages=[message.body])
        self._messages.put(f"{message.number:020d}", row.SerializeToString())

    def _hold(self, message: StoredMessage) -> None:
        message.holders += 1
        self._stored += _ENTRY_COST

    def _release(self, message: StoredMessage) -> None:
        message.holders -= 1
        self._stored -= _ENTRY_COST
        if message.holders <= 0:
            self._stored -= message.size + _MESSAGE_COST
            self._messages.delete(f"{message.number:020d}")

    def _load(
        self,
        topics: Mapping[str, LiveTopic] = _NONE,
        subscriptions: Mapping[str, LiveSubscription] = _NONE,
    ) -> None:
        """Read all rows into the known topics and subscriptions, and into new ones."""
        (self._last,) = _NUMBER.unpack(self._numbers.get("last") or bytes(_NUMBER.size))
        self.topics, self.subscriptions = {}, {}
        for name, value in self._topics.scan():
            state = Topic.FromString(value)
            topic = self.topics[name] = topics.get(name) or LiveTopic(state)
            topic.state, topic.retained = state, {}
        leases = {}
        for name, value in self._subscriptions.scan():
            state = Subscription.FromString(value)
            live = self.subscriptions[name] = subscriptions.get(name) or LiveSubscription(state)
            leases[name] = live.backlog.entries
            live.begin(state)
        self._load_snapshots()
        self._load_messages(leases)

    def _load_snapshots(self) -> None:
        self.snapshots = {}
        for name, value in self._snapshots.scan():
            (last,) = _NUMBER.unpack_from(value)
            state = Snapshot.FromString(value[_NUMBER.size :])
            self.snapshots[name] = LiveSnapshot(state, last)

    def _load_messages(self, known: Mapping[str, Mapping[int, BacklogEntry]]) -> None:
        messages = dict(map(_message, self._messages.scan()))
        self._stored = sum(message.size + _MESSAGE_COST for message in messages.values())
        for message in messages.values():
            topic = self.topics.get(message.retained_by)
            if topic is not None and topic.retention:
                self._hold(message)
                topic.retained[message.number] = message
        for key, value in self._entries.scan():
            name, message = _parse_key(key, messages)
            attempts, acked = _ENTRY.unpack(value)
            self._hold(message)
            entry = BacklogEntry(message, attempts=attempts, acked=acked)
            before = self._acked.get(key) or known[name].get(entry.number)
            self.subscriptions[name].backlog.restore(entry, before)
        for key, _ in self._snapshot_messages.scan():
            name, message = _parse_key(key, messages)
            self._hold(message)
            self.snapshots[name].messages[message.number] = message


def _key(name: str, number: int) -> str:
    return f"{name}\n{number:020d}"


def _parse_key(key: str, messages: dict[int, StoredMessage]) -> tuple[str, StoredMessage]:
    name, _, number = key.partition("\n")
    return name, messages[int(number)]


def _message(row: tuple[str, bytes]) -> tuple[int, StoredMessage]:
    stored = _Container.FromString(row[1])
    (body,) = stored.messages
    number = int(row[0])
    published = moment(body.publish_time)
    return number, StoredMessage(number, stored.topic, body, published, body.ByteSize())
