"""`Prefer: wait` under ASGI: clients wait in the event loop, not in threads."""

# mypy: disallow-untyped-calls=False

import asyncio
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from pytest_django import Settings

from tests.unit.validibot.api.conftest import Api
from validibot.api import launch
from validibot.core.asgi import ThreadedHandler, in_thread
from validibot.core.problems import ApiError
from validibot.runs.events import listener, record
from validibot.runs.models import Run, RunEvent
from validibot.workflows.models import Workflow

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.anyio]

RUNS = "/api/v1/orgs/acme/workflows/people/runs/"


@pytest.fixture(autouse=True)
def _unattended_queue(settings: Settings) -> Iterator[None]:
    """Runs stay PENDING; the listener's connection would keep the test database open."""
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    yield
    listener.stop()


class AsgiApi:
    """The API under ASGI, with one thread for all requests."""

    def __init__(self, api: Api) -> None:
        self.application = ThreadedHandler(threads=1)
        self.key = api.headers["Authorization"].encode()

    async def send(self, method: str, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return status, document and headers of the answer."""
        body = b'{"name": "Ada"}' if method == "POST" else b""
        sent = {"host": "testserver", "content-type": "application/octet-stream", **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()]
            + [(b"authorization", self.key), (b"content-length", str(len(body)).encode())],
        }
        wire = ApplicationCommunicator(self.application, scope)
        await wire.send_input({"type": "http.request", "body": body})
        start = await wire.receive_output(20)
        content = await wire.receive_output(20)
        received = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], json.loads(content["body"]), received


@pytest.fixture
def asgi(alice: Api, people: Workflow) -> AsgiApi:
    return AsgiApi(alice)


def _end_runs() -> None:
    for run in Run.objects.all():
        Run.objects.filter(pk=run.pk).update(status="SUCCEEDED")
        record(run.pk, RunEvent(kind="passed"))


async def _waiting(count: int) -> None:
    while len(launch.WaitSlot._taken) < count:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


async def test_waiting_clients_leave_the_thread_to_others(asgi: AsgiApi) -> None:
    waiting = [asyncio.ensure_future(asgi.send("POST", RUNS, prefer="wait=30")) for _ in range(5)]
    await _waiting(5)

    status, document, _ = await asgi.send("GET", "/api/v1/auth/me/")
    await in_thread(_end_runs)()
    answers = await asyncio.gather(*waiting)

    assert (status, document["email"]) == (200, "alice@example.com")
    assert {(status, run["result"]) for status, run, _ in answers} == {(201, "PASS")}
    assert all(headers["x-request-id"] for _, _, headers in answers)
    assert not launch.WaitSlot._taken


async def test_wait_that_is_over_answers_202(asgi: AsgiApi) -> None:
    status, run, headers = await asgi.send("POST", RUNS, prefer="wait=1")

    assert (status, run["state"], headers["location"]) == (202, "PENDING", run["poll"])
    assert headers["retry-after"] == "5"


async def test_too_many_waiting_requests_of_a_user_answer_429(
    asgi: AsgiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "MAX_WAITERS_PER_USER", 1)
    first = asyncio.ensure_future(asgi.send("POST", RUNS, prefer="wait=30"))
    await _waiting(1)

    status, problem, headers = await asgi.send("POST", RUNS, prefer="wait=30")
    without, _, _ = await asgi.send("POST", RUNS)
    await in_thread(_end_runs)()
    await first

    assert (status, problem["code"], headers["retry-after"]) == (429, "TOO_MANY_WAITERS", "5")
    assert without == 202


async def test_burst_waits_for_exactly_the_limit(
    asgi: AsgiApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of a request that is refused is not started."""
    monkeypatch.setattr(launch, "MAX_WAITERS_PER_USER", 3)
    asgi.application = ThreadedHandler(threads=8)
    burst = [asyncio.ensure_future(asgi.send("POST", RUNS, prefer="wait=30")) for _ in range(8)]
    statuses = [(await each)[0] for each in islice(asyncio.as_completed(burst), 5)]
    while await in_thread(Run.objects.count)() < 3:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    await in_thread(_end_runs)()
    answers = await asyncio.gather(*burst)

    assert statuses == [429] * 5
    assert sorted(status for status, _, _ in answers) == [201] * 3 + [429] * 5
    assert await in_thread(Run.objects.count)() == 3
    assert not launch.WaitSlot._taken


def test_lost_wait_slot_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MAX_WAITERS_PER_USER", 1)
    slot = launch.WaitSlot(1, advice="")
    with pytest.raises(ApiError, match="already wait"):
        launch.WaitSlot(1, advice="")
    del slot

    launch.WaitSlot(1, advice="").release()
