"""Startup probes against real local ports."""

import socket
from typing import Any

import pytest
from google.cloud import run_v2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.gcp.clock import ManualClock, SystemClock
from devenv.gcp.forward.connection import Origin
from devenv.gcp.run_services.probes import probe
from tests.emulator.target import serving

pytestmark = [pytest.mark.anyio, pytest.mark.enable_socket]


def wanted(**fields: Any) -> Any:
    settings = {"timeout_seconds": 1, "period_seconds": 1, "failure_threshold": 1, **fields}
    return run_v2.Probe.pb()(**settings)


async def health(request: Request) -> Response:
    return Response(status_code=200 if request.headers.get("x-probe") == "yes" else 500)


@pytest.mark.parametrize(("header", "healthy"), [("yes", True), ("no", False)])
async def test_http_probe_succeeds_with_a_good_status(header: str, *, healthy: bool) -> None:
    action = {"path": "/health", "http_headers": [{"name": "x-probe", "value": header}]}
    async with serving(Starlette(routes=[Route("/health", health)])) as port:
        found = await probe(
            Origin("127.0.0.1", port),
            wanted(http_get=action, failure_threshold=2, period_seconds=0),
            SystemClock(),
        )

    assert found is healthy


async def test_tcp_probe_succeeds_with_a_listening_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        origin = Origin("127.0.0.1", server.getsockname()[1])
        assert await probe(origin, wanted(tcp_socket={}), ManualClock())
    assert not await probe(origin, wanted(tcp_socket={}, timeout_seconds=0), ManualClock())
