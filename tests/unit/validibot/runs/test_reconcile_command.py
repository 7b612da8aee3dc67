"""`manage.py reconcile`: once, or as the clock of a Procfile."""

import json
import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from validibot.runs.management.commands import reconcile


@pytest.mark.django_db
def test_once_it_says_what_it_found() -> None:
    said = StringIO()
    call_command("reconcile", stdout=said)

    assert (
        said.getvalue()
        == "0 runs enqueued, 0 executions looked at, 0 cancellations repeated, 0 schedules due\n"
    )


@pytest.mark.django_db
def test_sweep_is_reported_as_json() -> None:
    said = StringIO()
    call_command("reconcile", json=True, stdout=said)

    assert json.loads(said.getvalue())["enqueued"] == 0


@pytest.mark.django_db
def test_reconcile_loop_survives_outage_and_stops(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopping, answers = threading.Event(), iter([OperationalError("gone"), None])

    def sweep() -> dict[str, int]:
        if error := next(answers):
            raise error
        stopping.set()
        return {
            "enqueued": 1,
            "looked_at": 2,
            "cancelled": 3,
            "messages": 0,
            "scheduled": 4,
            "probes": 0,
            "images": 0,
            "exports": 0,
        }

    monkeypatch.setattr(reconcile, "run_sweep", sweep)
    monkeypatch.setattr("django.db.connection.close", lambda: None)
    caplog.set_level("INFO")
    reconcile.repeat(stopping, every=0.01)

    assert caplog.messages == [
        "the database cannot be reached: gone",
        "1 runs enqueued, 2 executions looked at, 3 cancellations repeated, 4 schedules due",
    ]


@pytest.mark.parametrize("every", ["0", "3601", "soon"])
def test_invalid_interval_is_refused(every: str) -> None:
    arguments: Any = ["reconcile", "--every", every]
    with pytest.raises(CommandError):
        call_command(*arguments)
