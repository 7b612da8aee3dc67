"""The command of the database queue's worker: its HTTP health endpoint, signals and limits."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from pytest_django import Settings

from tests.contract.queues import forget_workers
from tests.waiting import LIMIT
from validibot.dispatch.database import worker as database_worker
from validibot.dispatch.database.backend import QueueOptions
from validibot.dispatch.database.management.commands import queue_worker
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


def test_command_serves_health_until_a_signal_stops_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = "validibot.dispatch.database.backend.DatabaseBackend"
    options = {"poll_seconds": 0.5}
    settings.TASKS = {"default": {"BACKEND": path, "OPTIONS": options}}
    answers: list[tuple[int, str]] = []

    async def run(worker: QueueWorker) -> None:
        assert (worker.concurrency, worker.shutdown_timeout) == (3, 1.5)
        assert worker.options.poll_seconds == 0.5
        [said] = [line for line in caplog.messages if line.startswith("health at ")]
        port = int(said.removesuffix("/health/").rpartition(":")[2])
        assert said == f"health at http://127.0.0.1:{port}/health/"
        answer = await ask(port)
        answers.append((answer.status_code, answer.json()["status"]))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(worker._stopping.wait(), LIMIT)

    monkeypatch.setattr(QueueWorker, "run", run)
    with caplog.at_level("INFO", queue_worker.__name__):
        call_command("queue_worker", concurrency=3, shutdown_timeout=1.5, health_port=0)

    assert answers == [(503, "not polling")]


def test_command_without_health_port_serves_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = "validibot.dispatch.database.backend.DatabaseBackend"
    settings.TASKS = {"default": {"BACKEND": path}}

    async def run(worker: QueueWorker) -> None:
        assert (worker.concurrency, worker.shutdown_timeout) == (4, 8.0)

    monkeypatch.setattr(QueueWorker, "run", run)
    with caplog.at_level("INFO", queue_worker.__name__):
        call_command("queue_worker")

    assert caplog.messages == []


@pytest.fixture
async def serving(transactional_db: None) -> AsyncIterator[QueueWorker]:
    """A worker that polls."""
    worker = QueueWorker(QueueOptions(poll_seconds=0.1), concurrency=1, shutdown_timeout=1)
    assert await worker.fault() == "not polling"
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(LIMIT):
            while await worker.fault():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.02)
        yield worker
    finally:
        worker.stop()
        await running
        await sync_to_async(forget_workers)()


@pytest.mark.django_db(transaction=True)
async def test_worker_names_its_fault(
    serving: QueueWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_minute = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
    with monkeypatch.context() as patched:
        patched.setattr(database_worker, "time", in_a_minute)
        assert await serving.fault() == "not polling"
        serving.running.add(Future())  # all of its threads are busy
        assert await serving.fault() == ""
        serving.running.clear()
    with monkeypatch.context() as patched:
        check = AsyncMock(side_effect=OSError)
        patched.setattr(serving._jobs, "check_connection_async", check)
        assert await serving.fault() == "database unreachable"
    serving.stop()
    assert await serving.fault() == "stopping"
