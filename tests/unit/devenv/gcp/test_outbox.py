"""Messages of services to topics: stored with a change, published after it."""

import sqlite3

import pytest

from devenv.gcp.caller import ApiCaller
from devenv.gcp.outbox import Outbox
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeTopics, MemoryStore

TOPIC = "projects/p/topics/t"


@pytest.fixture
def topics() -> FakeTopics:
    return FakeTopics()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def made(store: MemoryStore, topics: FakeTopics) -> Outbox:
    return Outbox(store.table("outbox"), ApiCaller("agent@x"), FakeGuard(), topics)


def add(outbox: Outbox, *texts: str, topic: str = TOPIC) -> None:
    for text in texts:
        outbox.add(topic, text, {"eventType": text})


def published(topics: FakeTopics) -> list[str]:
    return [data.decode() for _, data, _ in topics.published]


def test_messages_of_a_rolled_back_change_are_not_published(
    store: MemoryStore, topics: FakeTopics
) -> None:
    outbox = made(store, topics)

    def fail() -> None:
        with store.transaction():
            add(outbox, "lost")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    add(outbox, "kept")
    outbox.publish()

    assert published(topics) == ["kept"]


def test_messages_of_a_full_disk_follow_in_order(store: MemoryStore, topics: FakeTopics) -> None:
    outbox = made(store, topics)
    topics.problem = sqlite3.OperationalError("database or disk is full")
    add(outbox, "first")
    outbox.publish()
    outbox = made(store, topics)
    add(outbox, "second")
    outbox.publish()
    assert published(topics) == []

    topics.problem = None
    add(outbox, "third")
    outbox.publish()
    outbox.publish()
    made(store, topics).publish()
    assert published(topics) == ["first", "second", "third"]


def test_message_to_a_missing_topic_does_not_stop_others(
    store: MemoryStore, topics: FakeTopics
) -> None:
    topics.missing.add("gone")
    outbox = made(store, topics)
    add(outbox, "lost", topic="gone")
    add(outbox, "kept")
    outbox.publish()

    assert published(topics) == ["kept"]
