"""The connection that receives notifications: what it knows of ends that nobody waited for."""

import asyncio
import uuid

import pytest

from validibot.runs import events
from validibot.runs.events import END, RunEventListener

RUN = uuid.UUID("10000000-0000-4000-8000-000000000000")


def _connected(at: float) -> RunEventListener:
    listener = RunEventListener()
    listener._connected_at = at
    return listener


def test_listener_without_connection_knows_no_end() -> None:
    assert RunEventListener().may_have_ended(RUN, since=100.0)


def test_connection_after_the_start_of_a_run_may_have_missed_its_end() -> None:
    assert _connected(101.0).may_have_ended(RUN, since=100.0)


def test_connection_before_the_start_of_a_run_knows_its_end() -> None:
    listener = _connected(99.0)
    listener.handle(str(RUN))
    assert not listener.may_have_ended(RUN, since=100.0)

    listener.handle(f"{RUN}{END}")
    assert listener.may_have_ended(RUN, since=100.0)


def test_listener_forgets_the_oldest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "REMEMBERED_ENDS", 2)
    listener = _connected(99.0)
    for run_id in (RUN, uuid.uuid4(), uuid.uuid4()):
        listener.handle(f"{run_id}{END}")

    assert not listener.may_have_ended(RUN, since=100.0)
    assert len(listener._lately_ended) == 2


@pytest.mark.parametrize(("ends_only", "woken"), [(False, [1, 2]), (True, [0, 1])])
def test_waiter_for_the_end_is_not_woken_by_changes(ends_only: bool, woken: list[int]) -> None:
    listener = RunEventListener()
    calls: list[int] = []
    seen = []
    with listener.watching(RUN, lambda: calls.append(1), ends_only=ends_only):
        for payload in (str(RUN), f"{RUN}{END}"):
            listener.handle(payload)
            listener.handle(f"{uuid.uuid4()}{END}")
            seen.append(len(calls))
    listener.handle(f"{RUN}{END}")

    assert (seen, len(calls)) == (woken, woken[-1])
    assert not listener._watchers


def test_poll_interval_depends_on_the_connection() -> None:
    assert RunEventListener().poll_interval == events.POLL_INTERVAL_DISCONNECTED
    assert _connected(99.0).poll_interval == events.POLL_INTERVAL_CONNECTED


@pytest.mark.anyio
async def test_changes_are_told_at_once_and_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = _connected(99.0)
    monkeypatch.setattr(events, "listener", listener)

    first = events.changes(RUN, every=60.0, ends_only=True)
    await anext(first)
    listener.handle(f"{RUN}{END}")
    await asyncio.wait_for(anext(first), 30)
    # The run has ended, so one that cannot have missed it is told at once; others wait.
    await anext(events.changes(RUN, since=100.0))
    waiting = events.changes(uuid.uuid4(), every=0.001, since=100.0)
    await anext(waiting)
    await waiting.aclose()  # type: ignore[attr-defined]
    await first.aclose()  # type: ignore[attr-defined]

    assert not listener._watchers.get(uuid.UUID(int=0))
