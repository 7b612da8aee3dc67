"""Leases, retries, retention and seek of Pub/Sub, on a clock that is turned."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.pubsub_v1 import types

from devenv.gcp.clock import ManualClock
from devenv.gcp.errors import PermissionDenied, ResourceExhausted
from devenv.gcp.pubsub import state
from devenv.gcp.pubsub.broker import Broker, ack_id_of
from devenv.gcp.pubsub.rules import PubsubMessage, Snapshot, complete_subscription
from devenv.gcp.pubsub.state import LiveSubscription, LiveTopic, PubSubStore
from devenv.gcp.store import Store

TOPIC = "projects/p/topics/t"
NAME = "projects/p/subscriptions/s"


class Room:
    """A broker with one topic, over a store that another broker can open too."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store(":memory:")
        self.allowed = True
        self.open()
        self.topic = LiveTopic(types.Topic.pb()(name=TOPIC))
        self.broker.saved.put_topic(self.topic)

    def open(self) -> None:
        """Read everything from the store, as after a kill."""
        self.broker = Broker(PubSubStore(self.store), self.clock, self._may_forward)
        self.topic = self.broker.saved.topics.get(TOPIC, LiveTopic(None))

    def subscribe(self, name: str = NAME, **fields: Any) -> LiveSubscription:
        wanted = types.Subscription.pb()(name=name, topic=TOPIC, **fields)
        complete_subscription(wanted)
        live = LiveSubscription(wanted)
        self.broker.saved.put_subscription(live)
        return live

    def publish(self, *texts: str, key: str = "") -> None:
        bodies = [PubsubMessage(data=text.encode(), ordering_key=key) for text in texts]
        self.broker.publish(self.topic, bodies)

    def take(self, live: LiveSubscription, most: int = 10) -> list[str]:
        taken = self.broker.take(live, most=most, deadline=10, most_bytes=10**7)
        self.ids = [ack_id_of(each) for each in taken]
        return [each.message.body.data.decode() for each in taken]

    def nack(self, live: LiveSubscription) -> None:
        self.broker.extend(live, [(ack_id, 0.0) for ack_id in self.ids])

    def _may_forward(self, subscription: str, topic: str) -> None:
        if not self.allowed:
            raise PermissionDenied("no")


def acting(scenario: Callable[[Room], Awaitable[None]]) -> None:
    async def run() -> None:
        room = Room()
        await scenario(room)
        room.broker.stop()
        room.store.close()

    asyncio.run(run())


def test_message_comes_again_when_its_deadline_has_passed() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe()
        room.publish("a")
        assert room.take(live) == ["a"]
        waiting = asyncio.ensure_future(live.changed.wait())
        await asyncio.sleep(0)  # let the alarm begin to wait
        await room.clock.turn(9.9)
        assert room.take(live) == []
        await room.clock.turn(0.1)
        await waiting
        assert room.take(live) == ["a"]

    acting(scenario)


def test_extended_lease_ends_later() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe()
        room.publish("a")
        room.take(live)
        room.broker.extend(live, [(room.ids[0], 60.0)])
        await room.clock.turn(59)
        assert room.take(live) == []
        await room.clock.turn(1)
        assert room.take(live) == ["a"]

    acting(scenario)


def test_retry_policy_doubles_the_pause_up_to_its_maximum() -> None:
    async def scenario(room: Room) -> None:
        policy = {"minimum_backoff": {"seconds": 10}, "maximum_backoff": {"seconds": 30}}
        live = room.subscribe(retry_policy=policy)
        room.publish("a")
        for pause in (10, 20, 30, 30):
            assert room.take(live) == ["a"]
            room.nack(live)
            await room.clock.turn(pause - 0.5)
            assert room.take(live) == []
            await room.clock.turn(0.5)

    acting(scenario)


def test_returned_message_takes_later_ones_of_its_key_with_it() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe(enable_message_ordering=True)
        room.publish("a", "b", "c", key="k")
        room.publish("x", key="other")
        assert room.take(live) == ["a", "b", "c", "x"]
        room.broker.ack(live, room.ids[:1])
        room.broker.extend(live, [(room.ids[1], 0.0)])
        assert room.take(live) == ["b", "c"]

    acting(scenario)


def test_expired_ack_id_acknowledges_unless_exactly_once() -> None:
    async def scenario(room: Room) -> None:
        for once in (False, True):
            name = f"{NAME}-{once}"
            live = room.subscribe(name, enable_exactly_once_delivery=once)
            room.publish("a")
            room.take(live)
            old = room.ids
            room.nack(live)
            assert room.broker.ack(live, old) == (old if once else [])
            assert room.take(live) == (["a"] if once else [])

    acting(scenario)


def test_unacknowledged_messages_and_attempts_outlive_the_process() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe()
        room.publish("a", "b")
        room.take(live, most=1)
        room.broker.ack(live, room.ids)
        room.take(live)
        room.broker.stop()
        room.open()
        live = room.broker.saved.subscriptions[NAME]
        (entry,) = room.broker.take(live, most=5, deadline=10, most_bytes=10**7)
        assert (entry.message.body.data, entry.attempts) == (b"b", 2)
        room.broker.ack(live, [ack_id_of(entry)])
        assert list(room.store.table("pubsub_messages").scan()) == []

    acting(scenario)


def test_messages_go_when_their_retention_is_over() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe(message_retention_duration={"seconds": 600})
        room.publish("old")
        await room.clock.turn(599)
        room.publish("new")
        await room.clock.turn(1)
        assert room.take(live) == ["new"]

    acting(scenario)


def test_topic_retention_lets_a_later_subscription_seek_back() -> None:
    async def scenario(room: Room) -> None:
        room.topic.state.message_retention_duration.seconds = 3600
        room.broker.saved.put_topic(room.topic)
        room.publish("before")
        live = room.subscribe()
        room.publish("after")
        assert room.take(live) == ["after"]
        room.broker.seek_time(live, room.clock.now() - 60)
        room.nack(live)
        assert room.take(live) == ["before", "after"]

    acting(scenario)


def test_dead_letter_without_permission_stays() -> None:
    async def scenario(room: Room) -> None:
        room.allowed = False
        policy = {"dead_letter_topic": TOPIC, "max_delivery_attempts": 5}
        live = room.subscribe(dead_letter_policy=policy)
        room.publish("a")
        for _ in range(8):
            assert room.take(live) == ["a"]
            room.nack(live)

    acting(scenario)


def test_snapshot_ends_a_week_after_its_oldest_message() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe()
        room.publish("a")
        await room.clock.turn(86_400)
        name = "projects/p/snapshots/one"
        room.broker.snapshot(live, Snapshot(name=name, topic=TOPIC))
        await room.clock.turn(6 * 86_400 - 1)
        room.broker.expire_snapshots()
        assert name in room.broker.saved.snapshots
        await room.clock.turn(1)
        room.broker.expire_snapshots()
        assert not room.broker.saved.snapshots

    acting(scenario)


def test_publication_without_room_stores_none_of_its_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "MOST_STORED", 10_000)

    async def scenario(room: Room) -> None:
        live = room.subscribe()
        with pytest.raises(ResourceExhausted):
            room.publish("a", "b" * 10_000)
        assert room.take(live) == []
        room.publish("c")
        room.broker.stop()
        room.open()
        assert room.take(room.broker.saved.subscriptions[NAME]) == ["c"]

    acting(scenario)


def test_publication_takes_the_room_of_messages_whose_retention_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "MOST_STORED", 10_000)

    async def scenario(room: Room) -> None:
        room.subscribe(message_retention_duration={"seconds": 600})
        room.publish("a" * 7000)
        await room.clock.turn(600)
        room.publish("b" * 7000)

    acting(scenario)


def test_dead_letter_without_room_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(room: Room) -> None:
        policy = {"dead_letter_topic": TOPIC, "max_delivery_attempts": 5}
        live = room.subscribe(dead_letter_policy=policy)
        room.publish("a")
        monkeypatch.setattr(state, "MOST_STORED", 0)
        for _ in range(8):
            assert room.take(live) == ["a"]
            room.nack(live)

    acting(scenario)


def test_lease_ends_in_time_after_the_clock_was_reset() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe()
        await room.clock.turn(86_400)
        room.publish("a")
        assert room.take(live) == ["a"]
        room.clock.lose(86_400)
        room.broker.take_back(86_400)
        await asyncio.sleep(0)  # let the alarm begin to wait
        await room.clock.turn(9)
        assert room.take(live) == []
        await room.clock.turn(1)
        assert room.take(live) == ["a"]

    acting(scenario)


def test_topic_made_again_has_no_messages_of_the_earlier_one() -> None:
    async def scenario(room: Room) -> None:
        room.topic.state.message_retention_duration.seconds = 3600
        room.broker.saved.put_topic(room.topic)
        live = room.subscribe()
        room.publish("old")
        room.broker.delete_topic(room.topic)
        room.topic = LiveTopic(types.Topic.pb()(name=TOPIC))
        room.topic.state.message_retention_duration.seconds = 3600
        room.broker.saved.put_topic(room.topic)
        room.open()
        later = room.subscribe(f"{NAME}2")
        room.broker.seek_time(later, 0)

        assert room.take(later) == []
        assert room.take(room.broker.saved.subscriptions[live.name]) == ["old"]

    acting(scenario)


def test_retention_turned_on_later_keeps_later_messages_only() -> None:
    async def scenario(room: Room) -> None:
        room.subscribe()
        room.publish("before")
        room.topic.state.message_retention_duration.seconds = 3600
        room.broker.saved.put_topic(room.topic)
        room.publish("after")
        room.open()
        later = room.subscribe(f"{NAME}2")
        room.broker.seek_time(later, 0)

        assert room.take(later) == ["after"]

    acting(scenario)


def test_snapshots_and_seek_beyond_the_room_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_STORED", 40_000)

    async def scenario(room: Room) -> None:
        live = room.subscribe()
        room.publish(*"abcdefghijklmnop")
        made = 0
        with pytest.raises(ResourceExhausted):  # noqa: PT012 - the number is not of interest
            while made < 10:
                room.broker.snapshot(live, Snapshot(name=f"projects/p/snapshots/s{made}"))
                made += 1
        assert 0 < made < 5
        room.broker.seek_time(live, room.clock.now() + 1)
        assert room.take(live) == []

    acting(scenario)
