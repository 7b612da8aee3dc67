"""Pub/Sub's memory after a commit that failed: what the database has, with the leases of before."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from google.pubsub_v1 import types

from devenv.gcp.pubsub.rules import Snapshot
from devenv.gcp.pubsub.state import LiveTopic
from tests.unit.devenv.gcp.pubsub.test_broker import NAME, TOPIC, Room, acting


@contextmanager
def full_disk(room: Room, step: str = "commit") -> Iterator[None]:
    """Let a step of each transaction fail as on a full disk."""

    def fail(**_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    before = getattr(room.store, step)
    setattr(room.store, step, fail)
    with pytest.raises(sqlite3.OperationalError):
        yield
    setattr(room.store, step, before)


def test_messages_of_a_failed_publication_are_not_delivered() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe()
        room.publish("first")
        with full_disk(room):
            room.publish("lost")
        assert room.take(live) == ["first"]
        room.publish("last")
        assert room.take(live) == ["last"]

    acting(scenario)


@pytest.mark.parametrize("step", ["begin", "commit"])
@pytest.mark.parametrize("keeps", [False, True])
def test_failed_lease_and_acknowledgement_leave_the_messages_as_they_were(
    step: str, keeps: bool
) -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe(
            enable_message_ordering=True,
            enable_exactly_once_delivery=True,
            retain_acked_messages=keeps,
        )
        room.publish("a", "b", key="k")
        with full_disk(room, step):
            room.take(live)
        assert room.take(live) == ["a", "b"]
        assert [each.attempts for each in live.backlog.entries.values()] == [1, 1]

        leases = room.ids
        with full_disk(room, step):
            room.broker.ack(live, leases)
        assert (live.backlog.unacked, room.take(live)) == (2, [])
        assert room.broker.ack(live, leases) == []
        assert (live.backlog.unacked, live.backlog.leased) == (0, 0)

    acting(scenario)


def test_message_waits_for_its_pause_and_its_lease_after_a_failed_commit() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe(retry_policy={"minimum_backoff": {"seconds": 30}})
        room.publish("leased", "returned")
        leased, returned = room.take(live), room.ids
        assert leased == ["leased", "returned"]
        room.broker.extend(live, [(returned[1], 0.0)])
        with full_disk(room):
            room.publish("lost")
        await asyncio.sleep(0)  # let the alarm begin to wait
        await room.clock.turn(9)
        assert room.take(live) == []
        await room.clock.turn(21)
        assert room.take(live) == ["returned"]
        await room.clock.turn(10)  # 30 seconds after the end of its lease
        assert room.take(live) == ["leased"]

    acting(scenario)


def test_resources_stay_as_they_were_if_their_deletion_fails() -> None:
    async def scenario(room: Room) -> None:
        live = room.subscribe(retain_acked_messages=True)
        room.publish("a")
        room.broker.snapshot(live, Snapshot(name="projects/p/snapshots/s", topic=TOPIC))
        with full_disk(room):
            room.broker.delete_topic(room.topic)
        with full_disk(room):
            room.broker.detach(live)
        with full_disk(room):
            room.broker.forget(live)

        saved = room.broker.saved
        assert saved.topics == {TOPIC: room.topic}
        assert saved.subscriptions == {NAME: live}
        assert (live.state.topic, live.state.detached) == (TOPIC, False)
        assert room.take(live) == ["a"]
        room.broker.ack(live, room.ids)
        room.broker.seek_snapshot(live, saved.snapshots["projects/p/snapshots/s"])
        assert room.take(live) == ["a"]

    acting(scenario)


def test_topic_that_could_not_be_stored_does_not_exist() -> None:
    async def scenario(room: Room) -> None:
        with full_disk(room), room.broker.saved.transaction():
            room.broker.saved.put_topic(LiveTopic(types.Topic.pb()(name=f"{TOPIC}-2")))
        assert list(room.broker.saved.topics) == [TOPIC]

    acting(scenario)
