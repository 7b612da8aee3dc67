"""`manage.py trace_run`: the events of a run, and the callback of its attempt as a request."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.factories import RunFactory
from tests.unit.validibot.runs.scripted import post, read_input, store_output
from validibot.runs import callback
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.models import Run

pytestmark = pytest.mark.django_db


def traced(run: Run, **options: object) -> str:
    out = StringIO()
    call_command("trace_run", run.pk, stdout=out, **options)
    return out.getvalue()


def test_trace_lists_events_in_order(request_: LaunchRequest, container_run: Run) -> None:
    told = json.loads(traced(container_run, json=True))
    lines = traced(container_run).splitlines()

    kinds = ["delivered", "step_started", "launched", "running"]
    assert [(event["kind"], event["step"]) for event in told] == list(
        zip(kinds, [None, 1, 1, 1], strict=True)
    )
    assert [kind in line for kind, line in zip(kinds, lines, strict=True)] == [True] * 4
    assert "  step 1   launched " in lines[2]


def test_saved_callback_is_accepted_as_that_of_attempt(
    request_: LaunchRequest, container_run: Run, tmp_path: Path
) -> None:
    store_output(request_)
    file = tmp_path / "callback.json"

    assert traced(container_run, callback=file) == ""

    request = json.loads(file.read_text())
    assert file.stat().st_mode & 0o077 == 0
    assert request["path"] == "/internal/callbacks/"
    assert callback.handle(request["body"].encode()).status == 200
    assert post(request_).body["idempotent_replayed"] is True
    assert read_input(request_).context.callback_nonce in request["body"]


def test_callback_does_not_replace_file(
    request_: LaunchRequest, container_run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "callback.json"
    file.write_text("mine")

    with pytest.raises(CommandError, match=r"callback\.json cannot be written: File exists"):
        traced(container_run, callback=file)
    assert file.read_text() == "mine"


def test_run_without_attempt_has_no_callback(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No validator was launched for the run"):
        traced(RunFactory.create(), callback=tmp_path / "callback.json")
