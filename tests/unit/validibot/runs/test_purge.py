"""`manage.py purge`: retention per kind."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from tests.factories import (
    AttemptFactory,
    FindingFactory,
    IdempotencyKeyFactory,
    RunEventFactory,
    StepFactory,
    started_run,
)
from validibot.runs.evidence import record_evidence
from validibot.runs.models import Attempt, Finding, IdempotencyKey, Run, RunEvent, RunEvidence
from validibot.runs.purge import purge

pytestmark = pytest.mark.django_db

LONG_AGO = dt.timedelta(days=400)


@pytest.fixture
def run() -> Run:
    """A run that ended long ago, with two attempts, an event, a finding and evidence."""
    then = timezone.now() - LONG_AGO
    run = started_run(step=StepFactory.create())
    Run.objects.filter(pk=run.pk).update(status="SUCCEEDED", ended_at=then)
    step_run = run.steps.get()
    for number in (1, 2):
        AttemptFactory.create(step_run=step_run, number=number, state="FAILED", input_uri="")
    RunEventFactory.create(run=run, at=then)
    FindingFactory.create(step_run=step_run)
    record_evidence(run)
    return run


def test_old_rows_are_removed_and_results_stay(run: Run) -> None:
    old = IdempotencyKeyFactory.create(created_at=timezone.now() - LONG_AGO)
    new = IdempotencyKeyFactory.create()
    Session.objects.create(session_key="a", session_data="", expire_date=timezone.now() - LONG_AGO)

    removed = purge()

    assert removed["idempotency_keys"] == removed["sessions"] == 1
    assert list(IdempotencyKey.objects.all()) == [new]
    assert old.pk != new.pk
    assert not RunEvent.objects.exists()
    assert [attempt.number for attempt in Attempt.objects.all()] == [2]
    assert Finding.objects.count() == RunEvidence.objects.count() == 1


@pytest.mark.parametrize("results", [30, None])
@pytest.mark.parametrize("evidence", [30, None])
def test_run_is_removed_only_if_results_and_evidence_have_retention(
    run: Run, settings: Any, results: int | None, evidence: int | None
) -> None:
    own = {"results": results, "evidence": evidence}
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | own

    purge()

    assert Run.objects.exists() == (results is None or evidence is None)


def test_rows_of_unfinished_run_stay(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(status="RUNNING")

    purge()

    assert RunEvent.objects.exists()
    assert Attempt.objects.count() == 2
