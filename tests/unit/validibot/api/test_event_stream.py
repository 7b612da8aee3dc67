"""Events of a run as server-sent events."""

# mypy: disallow-untyped-calls=False

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from tests.unit.validibot.api.conftest import Api
from validibot.api import event_stream, launch
from validibot.runs import events
from validibot.runs.models import Run, RunEvent
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(alice: Api, people: Workflow) -> Run:
    return Run.objects.get(pk=alice.launch(b'{"name": "Ada"}').json()["id"])


def _path(run: Run) -> str:
    return f"orgs/acme/runs/{run.pk}/events/"


def _ids(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"^id: (\d+)$", text, re.MULTILINE)]


def test_stream_without_asgi_sends_what_there_is(alice: Api, run: Run) -> None:
    answer = alice.get(f"{_path(run)}stream/", Accept="text/event-stream")
    text = answer.getvalue().decode()
    listed = [each["id"] for each in alice.get(_path(run)).json()["results"]]

    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert text.startswith("retry: 2000\n\nid: ")
    assert _ids(text) == listed
    assert "event: created\ndata: {" in text


def test_stream_resumes_behind_last_event(alice: Api, run: Run) -> None:
    first, *others = RunEvent.objects.filter(run=run).values_list("pk", flat=True).order_by("pk")
    resumed = alice.get(f"{_path(run)}stream/", **{"Last-Event-ID": str(first)})
    polled = alice.get(f"{_path(run)}?after={first}").json()["results"]

    assert _ids(resumed.getvalue().decode()) == others == [each["id"] for each in polled]


@pytest.mark.parametrize("wrong", ["x", "-1", "9" * 30])
def test_unreadable_last_event_is_refused(alice: Api, run: Run, wrong: str) -> None:
    answer = alice.get(
        f"{_path(run)}stream/", Accept="text/event-stream", **{"Last-Event-ID": wrong}
    )

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "Last-Event-ID"


def test_stream_follows_run_until_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Run.objects.filter(pk=run.pk).update(status="RUNNING")
    last = RunEvent.objects.latest("pk").pk

    async def changes(run_id: Any, *, every: float) -> AsyncIterator[None]:
        yield
        await sync_to_async(Run.objects.filter(pk=run_id).update)(status="SUCCEEDED")
        await sync_to_async(RunEvent.objects.create)(run_id=run_id, kind="passed")
        yield

    monkeypatch.setattr(events, "changes", changes)
    slot = launch.WaitSlot(1, advice="")

    @async_to_sync
    async def all_messages() -> list[str]:
        return [each async for each in event_stream.follow(run.pk, last, slot)]

    messages = all_messages()

    assert messages[:2] == ["retry: 2000\n\n", ": no change\n\n"]
    assert "event: passed\n" in messages[2]
    assert messages[3:] == ["event: end\ndata: {}\n\n"]
    assert slot not in launch.WaitSlot._taken
