"""Waiting for the first time that a declared service listens."""

import asyncio
import socket

import pytest

from devenv.gcp.config import CloudConfig, ServiceConfig
from tests.unit.devenv.gcp.run_services.bench import make_services

pytestmark = [pytest.mark.anyio, pytest.mark.enable_socket]


async def test_ready_waits_until_service_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = CloudConfig(services=(ServiceConfig(name="late", port=port, account="worker"),))
    services = make_services(config)
    waiting = asyncio.create_task(services.ready(config.service_url("late")))
    await services.ready("https://example.com/")  # none of ours
    assert not waiting.done()

    with socket.create_server(("127.0.0.1", port)):
        await waiting
    await services.ready(config.service_url("late"))
