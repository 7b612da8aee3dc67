"""Walking in-process steps, one worker at a time."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests.factories import (
    AssertionFactory,
    StepFactory,
    launched,
    started_run,
)
from validibot.engines import Document, Result, get_engine
from validibot.engines.problems import DocumentProblem
from validibot.runs.evidence import record_evidence
from validibot.runs.execute import _load_steps, execute
from validibot.runs.lease import RunBusy, claim, heartbeat, leases
from validibot.runs.models import Finding, Run, RunEvent, RunEvidence, StepRun
from validibot.workflows.models import Step, Validator

pytestmark = pytest.mark.django_db


_LENIENT = {"schema": {"type": "object"}}


def kinds(run: Run) -> list[str]:
    return list(RunEvent.objects.filter(run=run).values_list("kind", flat=True))


def test_valid_document_passes() -> None:
    run = started_run(step=StepFactory.create())

    assert execute(run.pk)

    run.refresh_from_db()
    assert (run.state, run.result, run.lease_token) == ("COMPLETED", "PASS", None)
    assert run.steps.get().status == "PASSED"
    assert kinds(run) == ["delivered", "step_started", "step_passed", "passed"]


def test_invalid_document_fails_with_findings() -> None:
    run = started_run(step=StepFactory.create(), inline=b"{}")

    assert execute(run.pk)

    run.refresh_from_db()
    assert (run.result, run.error_category) == ("FAIL", "VALIDATION_FAILED")
    finding = Finding.objects.get(run=run)
    assert finding.severity == "ERROR"
    assert "name" in finding.message
    assert kinds(run)[-2:] == ["step_failed", "failed"]


@pytest.mark.parametrize(("limit", "result"), [(14, "FAIL"), (15, "PASS")])
def test_document_beyond_the_limit_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, limit: int, result: str
) -> None:
    """Neither engine nor assertions read a document of 15 bytes if the limit is 14."""
    engine = get_engine("json_schema")
    limited = replace(engine, manifest=replace(engine.manifest, max_bytes=limit))
    monkeypatch.setattr("validibot.runs.execute.get_engine", lambda name: limited)
    step = StepFactory.create()
    AssertionFactory.create(step=step, expression='payload.name == "Ada"')
    run = started_run(step=step, inline=b'{"name": "Ada"}')

    execute(run.pk)

    run.refresh_from_db()
    found = set(run.findings.values_list("code", flat=True))
    assert run.result == result
    assert ("document.too_large" in found) == (result == "FAIL")


def test_failed_step_ends_run_and_skips_the_rest() -> None:
    first = StepFactory.create()
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    run = started_run(step=first, inline=b"{}")

    execute(run.pk)

    assert list(run.steps.values_list("status", flat=True)) == ["FAILED", "SKIPPED"]


def test_step_that_continues_on_failure_lets_the_next_step_run() -> None:
    first = StepFactory.create(on_failure="continue")
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator, config=_LENIENT)
    run = started_run(step=first, inline=b"{}")

    assert execute(run.pk)

    run.refresh_from_db()
    assert list(run.steps.values_list("status", flat=True)) == ["FAILED", "PASSED"]
    assert (run.result, run.error_category) == ("FAIL", "VALIDATION_FAILED")
    assert kinds(run)[-2:] == ["step_passed", "failed"]


def test_run_is_resumed_after_a_failed_step_that_continues() -> None:
    first = StepFactory.create(on_failure="continue")
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    run = started_run(step=first)
    run.steps.filter(order=1).update(status="FAILED")

    assert execute(run.pk)

    run.refresh_from_db()
    assert list(run.steps.values_list("status", flat=True)) == ["FAILED", "PASSED"]
    assert run.result == "FAIL"


def test_step_that_cannot_be_executed_ends_run_even_if_it_continues() -> None:
    first = StepFactory.create(on_failure="continue")
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    # Saved before configurations were checked.
    Step.objects.filter(pk=first.pk).update(config={"schema": {"type": "no such type"}})
    run = started_run(step=first)

    execute(run.pk)

    run.refresh_from_db()
    assert list(run.steps.values_list("status", flat=True)) == ["FAILED", "SKIPPED"]
    assert run.result == "ERROR"


def test_assertions_see_document_outputs_and_constants() -> None:
    step = StepFactory.create(workflow__constants=[{"name": "who", "value": "Bob"}])
    failing = AssertionFactory.create(
        step=step, expression="payload.name == c.who", message="Not Bob"
    )
    AssertionFactory.create(step=step, expression="payload.name == 'Ada'", order=9_999)
    run = started_run(step=step)

    execute(run.pk)

    run.refresh_from_db()
    finding = Finding.objects.get(run=run)
    assert (run.result, finding.assertion, finding.message) == ("FAIL", failing, "Not Bob")


def test_warning_does_not_fail_a_step() -> None:
    step = StepFactory.create()
    AssertionFactory.create(step=step, expression="false", severity="WARNING", message="Hm")
    run = started_run(step=step)

    execute(run.pk)

    run.refresh_from_db()
    assert run.result == "PASS"
    assert Finding.objects.get(run=run).severity == "WARNING"


def test_invalid_schema_ends_run_as_error() -> None:
    step = StepFactory.create()
    # Saved before configurations were checked.
    Step.objects.filter(pk=step.pk).update(config={"schema": {"type": "no such type"}})
    run = started_run(step=step)

    execute(run.pk)

    run.refresh_from_db()
    assert (run.result, run.error_category) == ("ERROR", "SYSTEM_ERROR")
    assert run.steps.get().error
    assert kinds(run)[-1] == "error"


def test_engine_crash_ends_run_as_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(document: Document, config: object) -> Result:
        raise ZeroDivisionError

    monkeypatch.setattr(
        "validibot.runs.execute.get_engine",
        lambda name: replace(get_engine("json_schema"), check=crash),
    )
    run = started_run(step=StepFactory.create())

    execute(run.pk)

    run.refresh_from_db()
    assert run.result == "ERROR"
    assert "unexpectedly" in run.error


def test_step_start_is_recorded_before_its_engine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline shows the step of a worker that dies in it."""

    def die(document: Document, config: object) -> Result:
        raise SystemExit

    monkeypatch.setattr(
        "validibot.runs.execute.get_engine",
        lambda name: replace(get_engine("json_schema"), check=die),
    )
    run = started_run(step=StepFactory.create())

    with pytest.raises(SystemExit):
        execute(run.pk, task="t1")

    assert kinds(run) == ["delivered", "step_started"]
    delivered, started = run.events.order_by("-id")[:2][::-1]
    assert (delivered.step_run, delivered.data) == (None, {"task": "t1"})
    assert started.step_run == run.steps.get()


def test_unknown_engine_ends_run_as_error() -> None:
    step = StepFactory.create()
    Validator.objects.filter(pk=step.validator_id).update(engine="no_such")
    run = started_run(step=step)

    execute(run.pk)

    run.refresh_from_db()
    assert run.result == "ERROR"
    assert "no_such" in run.error


def test_execute_leaves_ended_run_alone() -> None:
    run = started_run(step=StepFactory.create())
    execute(run.pk)

    assert not execute(run.pk)

    assert kinds(run).count("passed") == 1


def test_execute_of_held_run_raises_busy() -> None:
    run = started_run(step=StepFactory.create())
    in_a_minute = timezone.now() + dt.timedelta(minutes=1)
    Run.objects.filter(pk=run.pk).update(status="RUNNING", lease_expires_at=in_a_minute)

    with pytest.raises(RunBusy):
        execute(run.pk)


def test_expired_lease_is_taken_over() -> None:
    run = started_run(step=StepFactory.create())
    ago = timezone.now() - dt.timedelta(minutes=1)
    Run.objects.filter(pk=run.pk).update(status="RUNNING", lease_expires_at=ago, started_at=ago)
    StepRun.objects.filter(run=run).update(status="RUNNING")

    assert execute(run.pk)

    run.refresh_from_db()
    assert (run.result, run.started_at) == ("PASS", ago)
    assert kinds(run)[0] == "resumed"


def test_heartbeat_renews_only_held_leases() -> None:
    run, other = started_run(step=StepFactory.create()), started_run(step=StepFactory.create())
    lease, lost = claim(run.pk), claim(other.pk)
    assert lease
    assert lost
    soon = timezone.now() + dt.timedelta(seconds=5)
    Run.objects.update(lease_expires_at=soon)

    with heartbeat(lease):
        leases.renew()

    run.refresh_from_db()
    other.refresh_from_db()
    assert run.lease_expires_at
    assert run.lease_expires_at > soon
    assert other.lease_expires_at == soon


def test_document_that_kills_workers_is_given_up() -> None:
    run = started_run(step=StepFactory.create())
    ago = timezone.now() - dt.timedelta(minutes=1)
    StepRun.objects.filter(run=run).update(status="RUNNING", starts=5)
    Run.objects.filter(pk=run.pk).update(status="RUNNING", lease_expires_at=ago, started_at=ago)

    assert execute(run.pk)

    run.refresh_from_db()
    assert run.result == "ERROR"


@pytest.mark.parametrize(
    ("document", "expression", "result"),
    [(b"{}", "output.count == 3", "PASS"), (b"{}", "output.count == 2", "FAIL"), (b"", "", "FAIL")],
)
def test_outputs_of_engine_are_kept_and_seen_by_assertions(
    monkeypatch: pytest.MonkeyPatch, document: bytes, expression: str, result: str
) -> None:
    def check(document: Document, config: object) -> Result:
        problems = () if document.content else (DocumentProblem("It is empty."),)
        return Result(problems, {"count": 3})

    monkeypatch.setattr(
        "validibot.runs.execute.get_engine",
        lambda name: replace(get_engine("json_schema"), check=check),
    )
    step = StepFactory.create()
    AssertionFactory.create(step=step, expression=expression or "false", message="Miscounted")
    run = started_run(step=step, inline=document)

    execute(run.pk)

    run.refresh_from_db()
    assert (run.result, run.steps.get().outputs) == (result, {"count": 3})
    messages = ["It is empty."] if not document else ["Miscounted"] * (result == "FAIL")
    assert list(run.findings.values_list("message", flat=True)) == messages


def test_worker_without_lease_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = started_run(step=StepFactory.create(), inline=b"{}")

    def cancel_meanwhile(document: Document, config: object) -> Result:
        Run.objects.filter(pk=run.pk).update(status="CANCELED")
        return Result()

    monkeypatch.setattr(
        "validibot.runs.execute.get_engine",
        lambda name: replace(get_engine("json_schema"), check=cancel_meanwhile),
    )

    assert not execute(run.pk)

    run.refresh_from_db()
    assert run.status == "CANCELED"
    assert not Finding.objects.filter(run=run).exists()
    assert kinds(run) == ["delivered", "step_started"]


@pytest.mark.parametrize("inline", [b'{"name": "Ada"}', b'{"n\xc3\xa4me": "\\u0000"}'])
def test_evidence_from_memory_is_that_of_the_rows(inline: bytes) -> None:
    first = StepFactory.create()
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    run = started_run(step=first, inline=inline)
    execute(run.pk)
    digests = RunEvidence.objects.values_list("manifest_sha256", "contents_sha256")
    (written,) = digests

    RunEvidence.objects.all().delete()
    record_evidence(run)

    assert digests.get() == written


def test_loaded_steps_are_those_of_the_orm() -> None:
    step = StepFactory.create()
    run = started_run(step=step, inline=b"\x00\xff")

    (loaded,) = _load_steps(run.pk)

    known = loaded.run
    objects: list[Any] = [
        loaded,
        known,
        known.workflow,
        known.submission,
        loaded.step,
        loaded.step.validator,
    ]
    for each in objects:
        row = type(each).objects.get(pk=each.pk)
        for field in each._meta.concrete_fields:
            name = field.attname
            assert getattr(each, name) == getattr(row, name), (type(each), name)


def test_one_step_costs_nine_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    run = started_run(step=StepFactory.create())

    with django_assert_max_num_queries(9):
        execute(run.pk)


def test_started_run_is_enqueued_on_commit(django_capture_on_commit_callbacks: object) -> None:
    step = StepFactory.create()

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        run = launched(step)

    run.refresh_from_db()
    assert run.result == "PASS"
