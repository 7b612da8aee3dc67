"""`manage.py purge`: retention per kind."""

import datetime as dt
from typing import Any, NoReturn

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from tests.factories import (
    AttemptFactory,
    FindingFactory,
    IdempotencyKeyFactory,
    OrganisationFactory,
    RunEventFactory,
    StepFactory,
    SubmissionFactory,
    started_run,
)
from validators.sdk.storage.file import FileStorage
from validibot.core.storage import StorageError, get_storage
from validibot.runs.evidence import record_evidence
from validibot.runs.models import Attempt, Finding, IdempotencyKey, Run, RunEvent, RunEvidence
from validibot.runs.purge import purge
from validibot.submissions.models import Submission

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
    IdempotencyKeyFactory.create(created_at=timezone.now() - LONG_AGO)
    new = IdempotencyKeyFactory.create()
    Session.objects.create(session_key="a", session_data="", expire_date=timezone.now() - LONG_AGO)

    removed = purge()

    assert removed["idempotency_keys"] == removed["sessions"] == 1
    assert list(IdempotencyKey.objects.all()) == [new]
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


@pytest.fixture
def unused() -> Submission:
    """A stored submission of long ago whose launch was interrupted before it had a run."""
    submission = SubmissionFactory.build(
        organisation=OrganisationFactory.create(), inline=None, created_at=timezone.now() - LONG_AGO
    )
    uri = f"{settings.DATA_ROOT}/submissions/{submission.organisation_id}/{submission.pk}/content"
    get_storage(uri).create(uri, b"{}", mime_type="application/json")
    submission.uri = uri
    submission.save()
    return submission


def test_unused_submission_is_removed_with_its_file(unused: Submission) -> None:
    purge()

    assert not Submission.objects.exists()
    assert get_storage(unused.uri).current(unused.uri) is None


def test_unused_submission_stays_while_its_file_cannot_be_removed(
    unused: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileStorage, uri: str) -> NoReturn:
        raise StorageError("out of reach")

    monkeypatch.setattr(FileStorage, "delete", fail)

    assert purge()["unused_submissions"] == 0
    assert Submission.objects.get() == unused


def test_inputs_of_an_old_attempt_are_removed_and_outputs_stay(run: Run) -> None:
    attempt = Attempt.objects.get(number=2)
    folder = f"{settings.DATA_ROOT}/runs/{run.organisation_id}/{run.pk}/attempts/{attempt.pk}"
    Attempt.objects.filter(pk=attempt.pk).update(
        bundle_uri=folder, input_uri=f"{folder}/input.json"
    )
    storage = get_storage(folder)
    for name in ("input.json", "inputs/weather/a.epw", "outputs/a.csv", "output.json"):
        storage.create(f"{folder}/{name}", b"1", mime_type="text/plain")

    assert purge()["inputs"] == 1
    left = {item.uri.removeprefix(f"{folder}/") for item in storage.list_below(f"{folder}/")}
    assert left == {"outputs/a.csv", "output.json"}
