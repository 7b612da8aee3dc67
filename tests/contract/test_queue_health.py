"""The HTTP health endpoint of the database queue's worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest

from validibot.dispatch.database.management.commands.queue_worker import health_server
from validibot.dispatch.database.worker import QueueWorker

pytestmark = pytest.mark.anyio


class FaultyWorker:
    """A worker with a fault that the test chooses."""

    text = ""

    async def fault(self) -> str:
        return self.text


@pytest.fixture
async def worker() -> FaultyWorker:
    return FaultyWorker()


@pytest.fixture
async def port(worker: FaultyWorker) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    with health_server(cast("QueueWorker", worker), loop, ("127.0.0.1", 0)) as port:
        yield port


async def ask(port: int, path: str = "/health/", method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}")


async def test_serving_worker_answers_200(port: int) -> None:
    answer = await ask(port)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_faulty_worker_answers_503_with_reason(port: int, worker: FaultyWorker) -> None:
    worker.text = "database unreachable"

    answer = await ask(port, "/health/?from=monitor")

    assert (answer.status_code, answer.json()) == (503, {"status": "database unreachable"})


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/health/", 501)]
)
async def test_other_request_is_refused(port: int, method: str, path: str, status: int) -> None:
    assert (await ask(port, path, method)).status_code == status
