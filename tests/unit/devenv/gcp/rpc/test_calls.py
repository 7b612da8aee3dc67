"""Calls of methods with streams: their requests, faults and journal."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from google.protobuf.message import Message
from google.pubsub_v1 import types

from devenv.gcp.caller import ApiCall
from devenv.gcp.clock import ManualClock
from devenv.gcp.errors import CloudError, Unavailable
from devenv.gcp.fault_matchers import ANY
from devenv.gcp.faults import Fault, Faults
from devenv.gcp.rpc import StreamRpc
from devenv.gcp.rpc.calls import Calls, method_id
from tests.unit.devenv.gcp.fakes import Everybody, MemoryJournal, MemoryStore, settle

pytestmark = pytest.mark.anyio

METHOD = "google.pubsub.v1.Subscriber/StreamingPull"
Request: Any = types.StreamingPullRequest.pb()


async def echo(requests: AsyncIterator[Any], _call: ApiCall) -> AsyncGenerator[Message]:
    async for request in requests:
        yield request


@pytest.mark.parametrize(("resource", "struck"), [("*/s", True), ("*/other", False)])
async def test_fault_strikes_stream_of_the_resource_that_its_first_request_names(
    resource: str, *, struck: bool
) -> None:
    store = MemoryStore()  # closes itself when nobody has it
    faults = Faults(store, ManualClock())
    faults.know({method_id(METHOD): ANY})
    faults.add(Fault(method=method_id(METHOD), resource=resource, status=503))
    calls = Calls(Everybody(), MemoryJournal(), faults)
    first = Request(subscription="projects/p/subscriptions/s")
    sent = [first, Request(ack_ids=["one"])]

    async def wire() -> AsyncIterator[bytes]:
        for each in sent:
            yield each.SerializeToString()

    stream = calls.stream(StreamRpc(METHOD, Request, Request, echo), {}, wire())
    if struck:
        with pytest.raises(Unavailable):
            await anext(stream)
    else:
        assert [each async for each in stream] == sent


@pytest.mark.parametrize("at_client", [False, True], ids=["waiting", "sending"])
@pytest.mark.parametrize(
    ("fault", "status"),
    [({"status": 503}, "UNAVAILABLE"), ({"status": 429, "delay": 5.0}, "RESOURCE_EXHAUSTED")],
    ids=["at once", "later"],
)
async def test_new_fault_ends_open_stream(
    fault: dict[str, Any], status: str, *, at_client: bool
) -> None:
    """The stream waits for a request, or for its client to read.

    An earlier fault that delayed its begin strikes it no second time.
    """
    store, journal, clock = MemoryStore(), MemoryJournal(), ManualClock()
    faults = Faults(store, clock)
    faults.know({method_id(METHOD): ANY})
    faults.add(Fault(method=method_id(METHOD), delay=1.0, times=2))
    calls = Calls(Everybody(), journal, faults)
    first = Request(subscription="projects/p/subscriptions/s")

    async def wire() -> AsyncIterator[bytes]:
        yield first.SerializeToString()
        await asyncio.Event().wait()

    async def read() -> None:
        stream = calls.stream(StreamRpc(METHOD, Request, Request, echo), {}, wire())
        async with aclosing(stream):
            async for _ in stream:
                if at_client:
                    await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await settle()
    await clock.turn(1)
    faults.add(Fault(method=method_id(METHOD), resource="*/other", **fault))
    added = faults.add(Fault(method=method_id(METHOD), resource="*/s", **fault))
    await settle()
    assert reading.done() is ("delay" not in fault)
    await clock.turn(5)
    with pytest.raises(CloudError) as failed:
        await reading

    [row] = journal.rows({})
    assert (failed.value.status, row["status"], row["fault"]) == (status, status, str(added.id))
    assert [each.struck for each in faults.all()] == [1, 0, 1]


async def test_delay_holds_back_next_answer_of_open_stream() -> None:
    store, clock = MemoryStore(), ManualClock()
    faults = Faults(store, clock)
    faults.know({method_id(METHOD): ANY})
    calls = Calls(Everybody(), MemoryJournal(), faults)
    sent: asyncio.Queue[Any] = asyncio.Queue()

    async def wire() -> AsyncIterator[bytes]:
        while True:
            yield (await sent.get()).SerializeToString()

    stream = calls.stream(StreamRpc(METHOD, Request, Request, echo), {}, wire())
    sent.put_nowait(Request(subscription="projects/p/subscriptions/s"))
    async with aclosing(stream):
        await anext(stream)
        faults.add(Fault(method=method_id(METHOD), delay=5.0))
        sent.put_nowait(Request(ack_ids=["one"]))
        answer = asyncio.create_task(anext(stream))
        await settle()
        assert not answer.done()
        await clock.turn(5)
        assert (await answer).ack_ids == ["one"]
