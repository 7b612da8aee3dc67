"""What the queue's worker answers over HTTP to those who look after it."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from validibot.dispatch.database.health import health

pytestmark = pytest.mark.anyio


class Worker:
    """Complains as it is told."""

    said = ""

    async def complaint(self) -> str:
        return self.said


@pytest.fixture
async def worker() -> Worker:
    return Worker()


@pytest.fixture
async def port(worker: Worker) -> AsyncIterator[int]:
    async with health(worker.complaint, host="127.0.0.1", port=0) as port:
        yield port


async def ask(port: int, path: str = "/health/", method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}")


async def test_a_worker_that_serves_is_200(port: int) -> None:
    answer = await ask(port)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_worker_that_does_not_is_503_and_says_why(port: int, worker: Worker) -> None:
    worker.said = "database unreachable"

    answer = await ask(port, "/health/?from=monitor")

    assert (answer.status_code, answer.json()) == (503, {"status": "database unreachable"})


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/health/", 405)]
)
async def test_there_is_nothing_else(port: int, method: str, path: str, status: int) -> None:
    assert (await ask(port, path, method)).status_code == status


@pytest.mark.parametrize("sent", [b"\r\n", b"\x16\x03\x01\xff\n", b"GET " + b"x" * 20_000])
async def test_what_is_no_request_harms_nobody(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    writer.write_eof()

    assert not (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert (await ask(port)).status_code == 200
