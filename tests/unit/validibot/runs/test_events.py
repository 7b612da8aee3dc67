"""The connection that receives notifications: what it knows of ends that nobody waited for."""

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
