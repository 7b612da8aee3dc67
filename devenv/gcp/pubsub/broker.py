"""The broker: messages from topics to subscriptions, leases and their ends, dead letters, seek.

It knows nothing of callers. Nothing here polls: a publication, an acknowledgement and one alarm per
subscription move deliveries on. Messages whose retention is over are removed at the next access.
"""

import base64
import binascii
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict

from devenv.gcp.clock import Alarm, Clock
from devenv.gcp.errors import CloudError, FailedPrecondition, ResourceExhausted
from devenv.gcp.messages import moment, set_moment
from devenv.gcp.pubsub.backlog import BacklogEntry, StoredMessage
from devenv.gcp.pubsub.rules import DAY, DELETED_TOPIC, MOST_BYTES, PubsubMessage
from devenv.gcp.pubsub.state import LiveSnapshot, LiveSubscription, LiveTopic, PubSubStore

log = logging.getLogger(__name__)
_LEAST_SNAPSHOT_AGE = 3600.0
_SOURCE = "CloudPubSubDeadLetterSource"


class Broker:
    """The topics and subscriptions of one project.

    `may_forward(subscription, topic)` raises a CloudError unless Pub/Sub's own account may move a
    dead letter.
    """

    def __init__(
        self,
        saved: PubSubStore,
        clock: Clock,
        may_forward: Callable[[str, str], None],
    ) -> None:
        self.saved = saved
        self._clock = clock
        self._may_forward = may_forward
        self._alarms: dict[LiveSubscription, Alarm] = {}
        # Ack ids of an earlier process are no lease of this one.
        self._lease = secrets.randbits(32) << 20

    def start(self) -> None:
        """Deliver what waits; a snapshot or a message that is too old is gone."""
        self.expire_snapshots()
        for subscription in self.saved.subscriptions.values():
            self.wake(subscription)

    def stop(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()

    def publish(self, topic: LiveTopic, bodies: Iterable[Any]) -> list[str]:
        """Store messages in every subscription whose filter they match; return their ids.

        Raises ResourceExhausted before anything is stored, if there is no room for all of them.
        """
        now = self._clock.now()
        ids, reached = [], self.subscriptions_of(topic)
        prepared = [_stamped(body, now) for body in bodies]
        self._make_room(prepared, holders=(len(reached) + 1) * len(prepared))
        with self.saved.transaction():
            self._prune_topic(topic)
            for sent in prepared:
                message = self.saved.add_message(topic, sent, now)
                for subscription in reached:
                    if subscription.matches(sent.attributes):
                        self.saved.deliver(subscription, message)
                if not message.holders:
                    self.saved.unused(message)
                ids.append(str(message.number))
        for subscription in reached:
            self.wake(subscription)
        return ids

    def take_back(self, seconds: float) -> None:
        """Let leases and pauses end so much earlier, after the clock has lost these seconds."""
        for alarm in self._alarms.values():
            alarm.cancel()
        for subscription in self.saved.subscriptions.values():
            subscription.backlog.take_back(seconds)
            self.wake(subscription)

    def subscriptions_of(self, topic: LiveTopic) -> list[LiveSubscription]:
        """Return the subscriptions that are attached to a topic."""
        name = topic.state.name
        every = self.saved.subscriptions.values()
        return [each for each in every if each.state.topic == name and not each.state.detached]

    def take(
        self, subscription: LiveSubscription, *, most: int, deadline: float, most_bytes: int
    ) -> list[BacklogEntry]:
        """Lease messages that may be delivered now to somebody for `deadline` seconds."""
        self.settle(subscription)
        now = self._clock.now()
        most_bytes = min(most_bytes, MOST_BYTES)
        if not (taken := subscription.backlog.take(now, most=most, most_bytes=most_bytes)):
            return taken
        with self.saved.transaction():
            for entry in taken:
                entry.attempts += 1
                self.saved.save(subscription, entry)
        for entry in taken:
            self._lease += 1
            subscription.backlog.lease(entry, self._lease, now + deadline)
        self._set_alarm(subscription)
        return taken

    def ack(self, subscription: LiveSubscription, ack_ids: Iterable[str]) -> list[str]:
        """Acknowledge messages; return the ids that are of no current lease.

        Without exactly-once delivery an id whose lease is over still acknowledges its message.
        """
        expired = []
        with self.saved.transaction():
            for ack_id in ack_ids:
                entry, current = self._leased(subscription, ack_id)
                if not current and (entry is None or subscription.exactly_once):
                    expired.append(ack_id)
                elif entry is not None and not entry.acked:
                    self._done(subscription, entry)
        self.wake(subscription)
        return expired

    def extend(
        self, subscription: LiveSubscription, deadlines: Iterable[tuple[str, float]]
    ) -> list[str]:
        """Let leases end so many seconds from now, 0 for at once; return the ids of no lease."""
        expired, now = [], self._clock.now()
        for ack_id, deadline in deadlines:
            entry, current = self._leased(subscription, ack_id)
            if entry is None or not current:
                expired.append(ack_id)
            elif deadline:
                subscription.backlog.lease(entry, entry.lease, now + deadline)
            else:
                self._give_back(subscription, entry)
        self.wake(subscription)
        return expired

    def holds(self, subscription: LiveSubscription, ack_id: str) -> bool:
        """Return whether the lease of an ack id goes on."""
        return self._leased(subscription, ack_id)[1]

    def settle(self, subscription: LiveSubscription) -> None:
        """Take back the messages whose lease is over, and drop those whose retention is over."""
        now = self._clock.now()
        for entry in list(subscription.backlog.expired(now)):
            if entry.lease:  # one of its key that went back before it may have ended it
                self._give_back(subscription, entry)
        self._prune(subscription)

    def wake(self, subscription: LiveSubscription) -> None:
        """Tell those who wait that something has changed, and set the alarm of the next change."""
        subscription.backlog.mature(self._clock.now())
        if subscription.name not in self.saved.subscriptions:
            return
        subscription.changed.set()
        subscription.changed = type(subscription.changed)()
        self._set_alarm(subscription)

    def forget(self, subscription: LiveSubscription) -> None:
        """Delete a subscription with its messages."""
        with self.saved.transaction():
            self.saved.drop_subscription(subscription)
        if alarm := self._alarms.pop(subscription, None):
            alarm.cancel()
        subscription.changed.set()

    def detach(self, subscription: LiveSubscription) -> None:
        """Cut a subscription off from its topic; its messages are gone."""
        with self.saved.transaction():
            self.saved.clear(subscription)
            subscription.state.detached = True
            self.saved.put_subscription(subscription)
        self.wake(subscription)

    def delete_topic(self, topic: LiveTopic) -> None:
        """Delete a topic. Its subscriptions stay, with what they have."""
        with self.saved.transaction():
            for subscription in self.subscriptions_of(topic):
                subscription.state.topic = DELETED_TOPIC
                self.saved.put_subscription(subscription)
            self.saved.drop_topic(topic)

    def seek_time(self, subscription: LiveSubscription, since: float) -> None:
        """Acknowledge the messages published before a moment, and deliver the later ones again.

        Raises ResourceExhausted.
        """
        self._restore(subscription, lambda message: message.published >= since)
        with self.saved.transaction():
            for entry in list(subscription.backlog.entries.values()):
                self._mark(subscription, entry, acked=entry.message.published < since)
        self.wake(subscription)

    def seek_snapshot(self, subscription: LiveSubscription, snapshot: LiveSnapshot) -> None:
        """Deliver what a snapshot has and what was published after it; acknowledge all else.

        Raises ResourceExhausted.
        """
        self._restore(subscription, lambda message: message.number > snapshot.last)
        self._bring_back(subscription, snapshot.messages.values())
        with self.saved.transaction():
            for number, entry in list(subscription.backlog.entries.items()):
                open_then = number > snapshot.last or number in snapshot.messages
                self._mark(subscription, entry, acked=not open_then)
        self.wake(subscription)

    def snapshot(self, subscription: LiveSubscription, state: Any) -> LiveSnapshot:
        """Keep the messages that are not acknowledged, for a week less the age of the oldest."""
        self.settle(subscription)
        now = self._clock.now()
        entries = subscription.backlog.entries.values()
        messages = [entry.message for entry in entries if not entry.acked]
        oldest = min((message.published for message in messages), default=now)
        expires = oldest + 7 * DAY
        if expires - now < _LEAST_SNAPSHOT_AGE:
            raise FailedPrecondition(
                "The subscription's backlog is too old to create a snapshot: it would expire in "
                "less than 1 hour."
            )
        set_moment(state.expire_time, expires)
        self._make_room(holders=len(messages))
        with self.saved.transaction():
            return self.saved.snapshot(state, messages)

    def expire_snapshots(self) -> None:
        """Delete the snapshots whose time is over."""
        now = self._clock.now()
        for snapshot in list(self.saved.snapshots.values()):
            if moment(snapshot.state.expire_time) <= now:
                with self.saved.transaction():
                    self.saved.drop_snapshot(snapshot)

    def _mark(self, subscription: LiveSubscription, entry: BacklogEntry, *, acked: bool) -> None:
        if acked and not entry.acked:
            self._done(subscription, entry)
        elif entry.acked and not acked:
            subscription.backlog.reopen(entry)
            self.saved.save(subscription, entry)

    def _restore(
        self, subscription: LiveSubscription, wanted: Callable[[StoredMessage], bool]
    ) -> None:
        """Bring back what the topic still retains of the wanted messages."""
        self.settle(subscription)
        topic = self.saved.topics.get(subscription.state.topic)
        if topic is None or subscription.state.detached:
            return
        with self.saved.transaction():
            self._prune_topic(topic)
        self._bring_back(subscription, filter(wanted, topic.retained.values()))

    def _bring_back(
        self, subscription: LiveSubscription, messages: Iterable[StoredMessage]
    ) -> None:
        """Put messages that are gone from a backlog back into it. Raises ResourceExhausted."""
        entries = subscription.backlog.entries
        gone = [
            message
            for message in messages
            if message.number not in entries and subscription.matches(message.body.attributes)
        ]
        self._make_room(holders=len(gone))
        with self.saved.transaction():
            for message in gone:
                self.saved.deliver(subscription, message)
        subscription.backlog.sort()

    def _done(self, subscription: LiveSubscription, entry: BacklogEntry) -> None:
        keep = bool(subscription.state.retain_acked_messages)
        self.saved.ack(subscription, entry, keep=keep)

    def _give_back(self, subscription: LiveSubscription, entry: BacklogEntry) -> None:
        policy = subscription.state.dead_letter_policy
        is_last = policy.dead_letter_topic and entry.attempts >= policy.max_delivery_attempts
        if not is_last or not self._forward(subscription, entry):
            subscription.backlog.give_back(entry, self._clock.now())

    def _forward(self, subscription: LiveSubscription, entry: BacklogEntry) -> bool:
        """Move a message to the dead-letter topic; return whether that was possible."""
        name = subscription.state.dead_letter_policy.dead_letter_topic
        topic = self.saved.topics.get(name)
        try:
            self._may_forward(subscription.name, name)
        except CloudError as error:
            log.warning("Message %s is no dead letter: %s", entry.number, error)
            return False
        if topic is None:
            log.warning("Message %s is no dead letter: %s does not exist", entry.number, name)
            return False
        body = PubsubMessage()
        body.CopyFrom(entry.message.body)
        _, project, _, short = subscription.name.split("/")
        body.attributes[f"{_SOURCE}DeliveryCount"] = str(entry.attempts)
        body.attributes[f"{_SOURCE}Subscription"] = short
        body.attributes[f"{_SOURCE}SubscriptionProject"] = project
        published = MessageToDict(body).get("publishTime", "")
        body.attributes[f"{_SOURCE}TopicPublishTime"] = published
        # Published first: after a crash in between there are two copies, and never none.
        try:
            self.publish(topic, [body])
        except ResourceExhausted as error:
            log.warning("Message %s is no dead letter yet: %s", entry.number, error)
            return False
        with self.saved.transaction():
            self._done(subscription, entry)
        subscription.dead_letters += 1
        return True

    def _make_room(self, bodies: Sequence[Any] = (), *, holders: int) -> None:
        """Raise ResourceExhausted unless there is room, also without what is too old."""
        if self.saved.has_room(bodies, holders=holders):
            return
        for subscription in self.saved.subscriptions.values():
            self._prune(subscription)
        with self.saved.transaction():
            for topic in self.saved.topics.values():
                self._prune_topic(topic)
        self.expire_snapshots()
        self.saved.require_room(bodies, holders=holders)

    def _prune(self, subscription: LiveSubscription) -> None:
        oldest = self._clock.now() - subscription.retention
        gone = []
        for entry in subscription.backlog.entries.values():
            if entry.message.published > oldest:
                break
            gone.append(entry)
        if gone:
            with self.saved.transaction():
                for entry in gone:
                    self.saved.ack(subscription, entry, keep=False)

    def _prune_topic(self, topic: LiveTopic) -> None:
        oldest = self._clock.now() - topic.retention
        for message in list(topic.retained.values()):
            if message.published > oldest:
                break
            self.saved.unretain(topic, message)

    def _set_alarm(self, subscription: LiveSubscription) -> None:
        wake = subscription.backlog.wake_at()
        if wake is None:
            return
        if subscription not in self._alarms:
            self._alarms[subscription] = Alarm(self._clock, lambda: self._ring(subscription))
        self._alarms[subscription].set(wake)

    def _ring(self, subscription: LiveSubscription) -> None:
        self.settle(subscription)
        self.wake(subscription)

    def _leased(
        self, subscription: LiveSubscription, ack_id: str
    ) -> tuple[BacklogEntry | None, bool]:
        """Return the entry of an ack id, and whether this is its current lease."""
        number, lease = _parse_ack_id(ack_id)
        entry = subscription.backlog.entries.get(number)
        return entry, entry is not None and entry.lease == lease and lease > 0


def _stamped(body: Any, now: float) -> Any:
    """Return a copy of a message with the time of its publication."""
    sent = PubsubMessage()
    sent.CopyFrom(body)
    set_moment(sent.publish_time, now)
    return sent


def ack_id_of(entry: BacklogEntry) -> str:
    """Return the ack id of an entry's current lease."""
    return base64.urlsafe_b64encode(f"{entry.number}:{entry.lease}".encode()).decode()


def is_ack_id(ack_id: str) -> bool:
    """Return whether a text has the form of an ack id."""
    return _parse_ack_id(ack_id) != (0, 0)


def _parse_ack_id(ack_id: str) -> tuple[int, int]:
    """Return message and lease of an ack id, zeros for one that is malformed."""
    try:
        number, _, lease = base64.urlsafe_b64decode(ack_id).decode().partition(":")
        return int(number), int(lease)
    except (binascii.Error, ValueError):
        return 0, 0
