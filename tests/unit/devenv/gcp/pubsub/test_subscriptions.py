"""Requests that subscribers of a kind of subscription may not make."""

from collections.abc import Iterator
from typing import Any

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.pubsub.service import PubSubService
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, FakeMinter, MemoryJournal, no_faults
from tests.unit.devenv.gcp.web import Web

SUBSCRIPTION = "/v1/projects/p/subscriptions/worker"


async def _send(request: DeliveryRequest) -> DeliveryAnswer:
    return DeliveryAnswer(503, {})


@pytest.fixture
def web() -> Iterator[Web]:
    """Return a client of Pub/Sub, with a topic."""
    store = Store(":memory:")
    service = PubSubService(
        config=CloudConfig(project="p"),
        store=store,
        clock=ManualClock(),
        guard=FakeGuard(),
        minter=FakeMinter(),
        send=_send,
    )
    web = Web(RestApp(service.rpcs(), Calls(Everybody(), MemoryJournal(), no_faults())))
    web.request("PUT", "/v1/projects/p/topics/orders", json={})
    yield web
    store.close()


def subscribe(web: Web, **fields: Any) -> None:
    wanted = {"topic": "projects/p/topics/orders", **fields}
    assert web.request("PUT", SUBSCRIPTION, json=wanted).status_code == 200


def test_pull_from_a_push_subscription_is_refused(web: Web) -> None:
    subscribe(web, pushConfig={"pushEndpoint": "http://127.0.0.1:9/"})
    refused = web.post(f"{SUBSCRIPTION}:pull", json={"maxMessages": 1}).json()["error"]
    web.post(f"{SUBSCRIPTION}:modifyPushConfig", json={"pushConfig": {}})
    pulled = web.post(f"{SUBSCRIPTION}:pull", json={"maxMessages": 1, "returnImmediately": True})

    assert refused["status"] == "FAILED_PRECONDITION"
    assert refused["message"] == "This method is not supported for this subscription type."
    assert pulled.json() == {}


@pytest.mark.parametrize("method", ["acknowledge", "modifyAckDeadline"])
def test_malformed_ack_id_is_refused_by_name(web: Web, method: str) -> None:
    subscribe(web)
    refused = web.post(f"{SUBSCRIPTION}:{method}", json={"ackIds": ["no id"]}).json()["error"]

    assert refused["status"] == "INVALID_ARGUMENT"
    assert "an invalid ack ID to the service (ack_id=no id)" in refused["message"]
