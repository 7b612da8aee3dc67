"""Assertions of container steps: what they see, and what an error of theirs leaves."""

import json
from typing import Any

import pytest

from tests.factories import AssertionFactory, StepFactory, started_run
from tests.unit.validibot.runs.scripted import (
    ScriptedProvider,
    post,
    store_output,
)
from validibot.core.storage import get_storage
from validibot.engines import EngineError
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.execute import execute
from validibot.runs.models import Finding, Run, StepRun
from validibot.submissions.models import Submission


def outputs(y: float) -> dict[str, Any]:
    return {
        "output_values": {"y": y},
        "execution_seconds": 0.5,
        "simulation_time_reached": 10.0,
    }


def test_assertions_are_held_against_the_outputs(
    request_: LaunchRequest, container_run: Run
) -> None:
    AssertionFactory.create(
        step=container_run.steps.get().step, expression="output.y < 1.0", message="Too much"
    )
    store_output(request_)

    post(request_)

    container_run.refresh_from_db()
    assert (container_run.result, Finding.objects.get().message) == ("FAIL", "Too much")


def test_assertions_of_container_step_see_document_and_earlier_steps(
    provider: ScriptedProvider, container_run: Run
) -> None:
    first = container_run.steps.get().step
    StepRun.objects.filter(run=container_run).update(order=0)  # of another run
    second, _ = (
        StepFactory.create(
            workflow=first.workflow, order=order, validator=first.validator, config=first.config
        )
        for order in (2, 3)
    )
    sees = "payload.zone == 'attic' && steps['1'].y == 1.0 && size(steps) == 1 && output.y == 2.0"
    AssertionFactory.create(step=second, expression=sees)
    run = started_run(step=first, filename="model.json", inline=b'{"zone": "attic"}')
    for y in (1.0, 2.0):
        execute(run.pk)
        store_output(provider.requests[-1], outputs=outputs(y))
        assert post(provider.requests[-1]).status == 200

    assert [finding.message for finding in run.findings.all()] == []
    assert run.steps.get(order=2).status == "PASSED"


@pytest.mark.parametrize(
    ("limit", "seen"), [(17, "payload.zone == 'attic'"), (16, "payload == null")]
)
def test_document_above_limit_is_null_in_assertions_of_container_step(
    provider: ScriptedProvider,
    container_run: Run,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    seen: str,
) -> None:
    monkeypatch.setattr("validibot.runs.outcome.MAX_PAYLOAD_BYTES", limit)
    step = container_run.steps.get().step
    AssertionFactory.create(step=step, expression=seen)
    run = started_run(step=step, filename="model.json", inline=b'{"zone": "attic"}')
    execute(run.pk)
    store_output(provider.requests[-1])

    post(provider.requests[-1])

    run.refresh_from_db()
    assert run.result == "PASS"


def test_assertions_that_cannot_be_evaluated_keep_what_the_validator_reported(
    request_: LaunchRequest, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EngineError("Assertions took longer than 5 seconds.")

    uri = f"{request_.output_uri.rpartition('/')[0]}/outputs/a.csv"
    stored = get_storage(uri).create(uri, b"1,2", mime_type="text/csv")
    artifact = {"name": "a.csv", "type": "timeseries-csv", "uri": uri, "size_bytes": 3}
    artifact |= {"sha256": stored.sha256, "storage_version": stored.version}
    message = {"severity": "WARNING", "text": "Odd."}
    store_output(request_, messages=[message], artifacts=[artifact])
    monkeypatch.setattr("validibot.runs.outcome.complete", fail)

    post(request_)

    container_run.refresh_from_db()
    assert (container_run.result, container_run.error) == (
        "ERROR",
        "Assertions took longer than 5 seconds.",
    )
    assert [finding.message for finding in container_run.findings.all()] == ["Odd."]
    assert [artifact.name for artifact in container_run.artifacts.all()] == ["a.csv"]


def test_assertions_see_all_facts_of_the_submission(request_: LaunchRequest) -> None:
    Submission.objects.update(short_description="First try", metadata={"area": 120})
    submission = Submission.objects.get()
    facts = {
        "name": "model.fmu",
        "filename": "model.fmu",
        "mime_type": "application/vnd.fmi.fmu",
        "size_bytes": 2,
        "sha256": submission.sha256,
        "short_description": "First try",
        "metadata": {"area": 120},
        "files": [],
    }
    expression = f"submission == {json.dumps(facts)}"
    AssertionFactory.create(step=StepRun.objects.get().step, expression=expression)
    store_output(request_)

    post(request_)

    run = Run.objects.get()
    assert (run.result, [finding.message for finding in run.findings.all()]) == ("PASS", [])
