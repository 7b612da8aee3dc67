"""`manage.py purge`: retention per kind."""

import datetime as dt
import json
import os
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import Mock
from uuid import uuid4

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from tests.factories import (
    ArtifactFactory,
    AttemptFactory,
    CallbackReceiptFactory,
    FindingFactory,
    IdempotencyKeyFactory,
    OrganisationFactory,
    RunEventFactory,
    StepFactory,
    SubmissionFactory,
    UserFactory,
    started_run,
)
from validators.sdk.storage.file import FileStorage
from validibot.core.models import CacheEntry, FailureCount
from validibot.core.storage import StorageError, get_storage
from validibot.runs.access import NotAdmitted
from validibot.runs.evidence import record_evidence
from validibot.runs.models import Attempt, Finding, IdempotencyKey, Run, RunEvent, RunEvidence
from validibot.runs.purge import purge
from validibot.runs.rerun import rerun
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db

LONG_AGO = dt.timedelta(days=400)


@pytest.fixture(autouse=True)
def _data_root(settings: Any, tmp_path: Path) -> None:
    """Each test has a database of its own, so it needs a DATA_ROOT of its own."""
    settings.DATA_ROOT = tmp_path.as_uri()


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


def test_browser_of_removed_session_is_forgotten() -> None:
    user, then = UserFactory.create(), timezone.now() - LONG_AGO
    for key, end in (("old", then), ("living", timezone.now() + LONG_AGO)):
        Session.objects.create(session_key=key, session_data="", expire_date=end)
        UserSession.objects.create(
            user=user, session_key=key, ip="10.0.0.1", user_agent="Firefox", last_seen_at=then
        )

    assert purge()["session_list"] == 1
    assert UserSession.objects.get().session_key == "living"


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


def _write(uri: str, *, age: dt.timedelta = LONG_AGO) -> Path:
    get_storage(uri).create(uri, b"x", mime_type="text/plain")
    path = Path(uri.removeprefix("file://"))
    moment = (timezone.now() - age).timestamp()
    os.utime(path, (moment, moment))
    return path


def test_old_files_without_rows_are_removed(run: Run, data_root: str) -> None:
    kept_attempt = Attempt.objects.get(number=2)
    submission, owner = run.submission, run.organisation_id
    attempts = f"{data_root}/runs/{owner}/{run.pk}/attempts"
    with_artifact = f"{attempts}/{uuid4()}/plot.svg"
    ArtifactFactory.create(run=run, step_run=run.steps.get(), uri=with_artifact)
    kept = [
        _write(f"{attempts}/{kept_attempt.pk}/output.json"),
        _write(with_artifact),
        _write(f"{attempts}/{uuid4()}/output.json", age=dt.timedelta(hours=23)),
        _write(f"{data_root}/submissions/{owner}/{submission.pk}/content"),
        _write(f"{data_root}/workflows/{uuid4()}/weather.epw"),
    ]
    orphans = [
        _write(f"{attempts}/{uuid4()}/output.json"),
        _write(f"{data_root}/runs/{owner}/{uuid4()}/attempts/{uuid4()}/inputs/a.idf"),
        _write(f"{data_root}/submissions/{owner}/{uuid4()}/content"),
    ]

    removed = purge()

    assert removed["orphaned_files"] == len(orphans)
    assert [path.exists() for path in kept] == [True] * len(kept)
    assert [path.exists() for path in orphans] == [False] * len(orphans)


def test_purge_command_prints_counts_of_each_kind(run: Run, data_root: str) -> None:
    printed = StringIO()

    call_command("purge", stdout=printed)

    printed_kinds = dict(part.split()[::-1] for part in printed.getvalue().strip().split(", "))
    assert (printed_kinds["events"], printed_kinds["orphaned_files"]) == ("1", "0")


def test_purge_command_prints_counts_as_json(run: Run, data_root: str) -> None:
    printed = StringIO()

    call_command("purge", json=True, stdout=printed)

    assert json.loads(printed.getvalue())["removed"]["events"] == 1


@pytest.mark.parametrize("state", [{"status": "RUNNING"}, {"ended_at": timezone.now()}])
def test_rows_of_unfinished_or_recent_run_stay(run: Run, state: dict[str, Any]) -> None:
    Run.objects.filter(pk=run.pk).update(**state)
    Attempt.objects.update(input_uri="file:///nowhere/input.json")
    CallbackReceiptFactory.create(attempt=Attempt.objects.get(number=1))
    kinds = ("events", "receipts", "attempts", "inputs", "unused_submissions", "results")

    removed = purge()

    assert {kind: removed.get(kind, 0) for kind in kinds} == dict.fromkeys(kinds, 0)


def test_expired_limits_are_counted_together() -> None:
    expired, valid = (timezone.now() + days for days in (-LONG_AGO, LONG_AGO))
    for key, expires in (("old", expired), ("new", valid)):
        FailureCount.objects.create(key=key, count=1, expires_at=expires)
        CacheEntry.objects.create(cache_key=key, value="", expires=expires)

    assert purge()["limits"] == 2
    assert FailureCount.objects.get().key == CacheEntry.objects.get().cache_key == "new"


def test_orphaned_files_are_left_while_storage_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        FileStorage, "list_written_before", Mock(side_effect=StorageError("out of reach"))
    )

    assert purge()["orphaned_files"] == 0


def test_oldest_ended_results_are_removed_first(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RETENTION_DAYS = {**settings.RETENTION_DAYS, "results": 30, "evidence": 30}
    monkeypatch.setattr("validibot.runs.purge.BATCH", 1)
    monkeypatch.setattr("validibot.runs.purge.MAX_BATCHES", 1)
    step = StepFactory.create()
    runs = [started_run(step=step) for _ in range(3)]
    for run, status, days in zip(
        runs, ("SUCCEEDED", "FAILED", "RUNNING"), (400, 500, 600), strict=True
    ):
        ended_at = timezone.now() - dt.timedelta(days=days)
        Run.objects.filter(pk=run.pk).update(status=status, ended_at=ended_at)

    assert purge()["results"] == 1

    assert set(Run.objects.all()) == {runs[0], runs[2]}


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
    used = started_run(step=StepFactory.create()).submission
    Submission.objects.filter(pk=used.pk).update(created_at=timezone.now() - LONG_AGO)

    assert purge()["unused_submissions"] == 1

    assert Submission.objects.get() == used
    assert get_storage(unused.uri).current(unused.uri) is None


def test_unused_submission_stays_while_its_file_cannot_be_removed(
    unused: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileStorage, uri: str) -> NoReturn:
        raise StorageError("out of reach")

    monkeypatch.setattr(FileStorage, "delete_below", fail)

    assert purge()["unused_submissions"] == 0
    assert Submission.objects.get() == unused


@pytest.mark.parametrize(
    ("kind", "days", "limit"),
    [("inputs", None, 1000), ("submitted_files", 1, 1000), ("inputs", None, 1)],
)
def test_inputs_of_an_old_attempt_are_removed_and_outputs_stay(
    run: Run,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    days: int | None,
    limit: int,
) -> None:
    """An envelope beyond the limit is removed unread; the file that it names stays."""
    settings.MAX_ENVELOPE_BYTES = limit
    Workflow.objects.update(input_retention_days=days)
    attempt = Attempt.objects.get(number=2)
    folder = f"{settings.DATA_ROOT}/runs/{run.organisation_id}/{run.pk}/attempts/{attempt.pk}"
    Attempt.objects.filter(pk=attempt.pk).update(
        bundle_uri=folder, input_uri=f"{folder}/input.json"
    )
    storage = get_storage(folder)
    for name in ("primary_model.idf", "inputs/weather/a.epw", "outputs/a.csv", "output.json"):
        storage.create(f"{folder}/{name}", b"1", mime_type="text/plain")
    named = [{"uri": f"{folder}/primary_model.idf"}, {"uri": f"{folder}/outputs/a.csv"}]
    envelope = json.dumps({"input_files": named}).encode()
    storage.create(f"{folder}/input.json", envelope, mime_type="text/plain")

    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "delete", Mock(side_effect=StorageError("out of reach")))
        assert purge()[kind] == 0
    assert purge()[kind] == 1
    assert purge()[kind] == 0
    left = {item.uri.removeprefix(f"{folder}/") for item in storage.list_below(f"{folder}/")}
    unread = {"primary_model.idf"} if limit == 1 else set()
    assert left == {"outputs/a.csv", "output.json"} | unread


def test_purge_keeps_files_of_another_database(settings: Any, tmp_path: Path) -> None:
    """Of two databases that share a DATA_ROOT neither removes the other's files."""
    settings.DATA_ROOT = tmp_path.as_uri()
    purge()
    marker = tmp_path / "database-id"
    other = str(uuid4())
    marker.write_text(other)
    file = tmp_path / "submissions" / "1" / str(uuid4()) / "content"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    long_ago = (timezone.now() - LONG_AGO).timestamp()
    os.utime(file, (long_ago, long_ago))

    with pytest.raises(CommandError, match=f"belongs to the database '{other}'.*delete file:"):
        call_command("purge")
    assert file.exists()

    marker.unlink()
    assert purge()["orphaned_files"] == 1
    assert not file.exists()


def test_submitted_file_goes_when_its_workflow_keeps_it_no_longer(
    run: Run,
) -> None:
    uri = f"{content.folder_of(run.submission)}content"
    stored = get_storage(uri).create(uri, b"{}", mime_type="application/json")
    Submission.objects.filter(pk=run.submission_id).update(
        inline=None, uri=stored.uri, storage_version=stored.version
    )
    purge()
    assert get_storage(uri).current(uri)
    Workflow.objects.update(input_retention_days=399)

    assert purge()["submitted_files"] == 1
    assert purge()["submitted_files"] == 0
    again = Run.objects.select_related("submission").get()
    assert get_storage(uri).current(uri) is None
    assert again.submission.content_removed_at
    assert Finding.objects.exists()
    with pytest.raises(NotAdmitted, match="not kept any more"):
        rerun(again, again.workflow, user=UserFactory.create(), source=Run.Source.API)


def test_unfinished_run_keeps_its_file_and_an_ended_one_until_its_day(run: Run) -> None:
    Workflow.objects.update(input_retention_days=1, result_retention_days=1)
    Run.objects.update(status="RUNNING", ended_at=None)
    assert purge()["submitted_files"] == 0

    Run.objects.update(status="FAILED", ended_at=timezone.now() - dt.timedelta(hours=23))
    assert (purge()["submitted_files"], Run.objects.count()) == (0, 1)


@pytest.mark.parametrize(("days", "left"), [(None, 0), (300, 0), (500, 1)])
def test_run_goes_when_its_workflow_keeps_it_no_longer(
    run: Run, settings: Any, days: int | None, left: int
) -> None:
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"evidence": days}
    Workflow.objects.update(result_retention_days=100)

    purge()

    assert Run.objects.count() == left


AGED_RUNS = st.tuples(
    st.sampled_from(["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "TIMED_OUT"]),
    st.integers(0, 12),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 12),
)


@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    runs=st.lists(AGED_RUNS, min_size=1, max_size=3),
    results=st.none() | st.integers(1, 12),
    evidence=st.none() | st.integers(1, 12),
)
def test_purge_removes_exactly_what_is_older_than_its_retention(
    settings: Any,
    runs: list[tuple[str, int, int | None, int | None]],
    results: int | None,
    evidence: int | None,
) -> None:
    """Each run has a status, an age in days, and the days that its workflow keeps file and run."""
    kept = dict.fromkeys(settings.RETENTION_DAYS)
    settings.RETENTION_DAYS = kept | {"results": results, "evidence": evidence}
    with transaction.atomic():
        expected: dict[Any, tuple[bool, bool]] = {}
        for status, age, file_days, run_days in runs:
            each = started_run(step=StepFactory.create())
            is_over = status not in ("PENDING", "RUNNING")
            ended_at = timezone.now() - dt.timedelta(days=age) if is_over else None
            Run.objects.filter(pk=each.pk).update(status=status, ended_at=ended_at)
            Workflow.objects.filter(pk=each.workflow_id).update(
                input_retention_days=file_days, result_retention_days=run_days
            )
            loses_file = is_over and file_days is not None and age >= file_days
            days = [run_days and max(run_days, evidence or 0)]
            days.append(results and evidence and max(results, evidence))
            is_removed = is_over and any(limit and age >= limit for limit in days)
            expected[each.pk] = (is_removed, loses_file)

        for _ in range(2):
            purge()

            left = {each.pk: each for each in Run.objects.select_related("submission")}
            assert set(left) == {pk for pk, (is_removed, _) in expected.items() if not is_removed}
            without_file = {pk for pk, each in left.items() if each.submission.content_removed_at}
            assert without_file == {pk for pk in left if expected[pk][1]}
        transaction.set_rollback(True)
