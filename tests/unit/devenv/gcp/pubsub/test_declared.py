"""Topics and subscriptions that devenv.toml declares."""

import asyncio
import base64
from typing import Any

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, parse
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.pubsub.service import PubSubService
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeMinter

SUBSCRIPTION = {
    "name": "orders-worker",
    "topic": "orders",
    "push": "http://127.0.0.1:9/orders",
    "account": "tasks",
    "dead_letter_topic": "dead",
    "max_backoff": 60.0,
}
TOPICS = [{"name": "orders", "retention": 3600.0}, {"name": "dead"}]


def declared(**tables: Any) -> CloudConfig:
    return parse({"accounts": ["tasks"], **tables})


async def _send(request: DeliveryRequest) -> DeliveryAnswer:
    return DeliveryAnswer(200, {})


def started(store: Store, config: CloudConfig) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        service = PubSubService(
            config=config,
            store=store,
            clock=ManualClock(),
            guard=FakeGuard(),
            minter=FakeMinter(),
            send=_send,
        )
        await service.start()
        overview = service.overview({})
        await service.stop()
        return overview

    return asyncio.run(run())


def test_declared_topics_and_subscriptions_follow_the_file() -> None:
    store = Store(":memory:")
    both = started(store, declared(topics=TOPICS, subscriptions=[SUBSCRIPTION]))
    fewer = started(store, declared(topics=TOPICS[:1]))
    store.close()

    assert both["topics"] == [
        f"projects/local-project/topics/{name}" for name in ("dead", "orders")
    ]
    (subscription,) = both["subscriptions"]
    assert subscription["name"] == "projects/local-project/subscriptions/orders-worker"
    assert subscription["push"] == "http://127.0.0.1:9/orders"
    assert fewer == {"topics": ["projects/local-project/topics/orders"], "subscriptions": []}


def test_subscription_of_unknown_topic_names_it() -> None:
    store = Store(":memory:")
    with pytest.raises(InvalidArgument, match="orders-worker has the topic 'orders'"):
        started(store, declared(subscriptions=[SUBSCRIPTION]))
    with pytest.raises(InvalidArgument, match="orders-worker has the dead_letter_topic 'dead'"):
        started(store, declared(topics=TOPICS[:1], subscriptions=[SUBSCRIPTION]))
    store.close()


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("account", "tasks", "push"),
        ("audience", "a", "account"),
        ("max_delivery_attempts", 9, "dead_letter_topic"),
        ("min_backoff", 1.0, "max_backoff"),
    ],
)
def test_subscription_key_without_effect_names_the_missing_one(
    key: str, value: object, needed: str
) -> None:
    store = Store(":memory:")
    wanted = {"name": "orders-worker", "topic": "orders", key: value}
    with pytest.raises(InvalidArgument, match=f"orders-worker has {key}, which needs {needed}"):
        started(store, declared(topics=TOPICS, subscriptions=[wanted]))
    store.close()


def test_push_waits_until_its_endpoint_is_ready() -> None:
    async def run() -> None:
        store, started, sent = Store(":memory:"), asyncio.Event(), asyncio.Event()

        async def send(request: DeliveryRequest) -> DeliveryAnswer:
            assert started.is_set()
            sent.set()
            return DeliveryAnswer(204, {})

        async def ready(_url: str) -> None:
            await started.wait()

        service = PubSubService(
            config=declared(topics=TOPICS, subscriptions=[SUBSCRIPTION]),
            store=store,
            clock=ManualClock(),
            guard=FakeGuard(),
            minter=FakeMinter(),
            send=send,
            ready=ready,
        )
        await service.start()
        service.publish("projects/local-project/topics/orders", b"one", {})
        await asyncio.sleep(0)
        assert service.overview({})["subscriptions"][0]["leased"] == 0
        started.set()
        await sent.wait()
        await service.stop()
        store.close()

    asyncio.run(run())


def test_preview_cuts_data_and_goes_on_behind_a_message() -> None:
    async def run() -> None:
        store = Store(":memory:")
        service = PubSubService(
            config=declared(topics=TOPICS, subscriptions=[{"name": "reader", "topic": "orders"}]),
            store=store,
            clock=ManualClock(),
            guard=FakeGuard(),
            minter=FakeMinter(),
            send=_send,
        )
        await service.start()
        for _ in range(101):
            service.publish("projects/local-project/topics/orders", b"x" * 30_000, {"a": "b"})
        query = {"subscription": "projects/local-project/subscriptions/reader"}
        first = service.preview(query)
        second = service.preview(query | {"after": first["next"]})
        with pytest.raises(InvalidArgument, match="after is 'soon'"):
            service.preview(query | {"after": "soon"})
        oldest = service.overview({})["subscriptions"][0]["oldest"]
        await service.stop()
        store.close()

        assert [len(page["messages"]) for page in (first, second)] == [100, 1]
        assert (first["depth"], second["next"], oldest) == (101, "", ManualClock().now())
        assert len(base64.b64decode(first["messages"][0]["data"])) == 20_000
        assert first["messages"][0]["size"] == 30_000

    asyncio.run(run())
