"""Calls of methods with streams: their requests, faults and journal."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message
from google.pubsub_v1 import types

from devenv.gcp.caller import ApiCall
from devenv.gcp.clock import ManualClock
from devenv.gcp.errors import Unavailable
from devenv.gcp.faults import Fault, Faults
from devenv.gcp.rpc import StreamRpc
from devenv.gcp.rpc.calls import Calls, method_id
from tests.unit.devenv.gcp.fakes import Everybody, MemoryJournal, MemoryStore

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
    faults.know([method_id(METHOD)])
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
