"""Starting runs: what is created, idempotency keys, and what is left after a failure."""

import datetime as dt
import hashlib
import io
from pathlib import Path

import pytest
from django.db import OperationalError
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks, Settings

from tests.factories import RunFactory, StepFactory, UserFactory
from validibot.accounts.models import User
from validibot.core.storage import StorageError
from validibot.runs import start as service
from validibot.runs.access import NotAdmitted
from validibot.runs.models import IdempotencyKey, Run, RunEvent, StepRun
from validibot.runs.start import StartedRun, start
from validibot.submissions.content import INLINE_BYTES, Incoming, measure
from validibot.submissions.models import Submission
from validibot.workflows.models import Step, Workflow

pytestmark = pytest.mark.django_db
LARGE = b" " * (INLINE_BYTES + 1)


@pytest.fixture
def step() -> Step:
    return StepFactory.create(
        name="Check the name",
        validator__slug="json-schema",
        validator__version="7",
        validator__accepts=[{"extension": ".json", "mime_type": "application/json"}],
    )


@pytest.fixture
def user() -> User:
    return UserFactory.create()


def file(content: bytes = b'{"name": "Ada"}', filename: str = "a.json") -> Incoming:
    source = io.BytesIO(content)
    return Incoming(source, filename, *measure(source))


def started(
    step: Step, user: User, content: bytes = b"{}", key: str = "", source: str = "API"
) -> StartedRun:
    workflow = Workflow.objects.prefetch_related("steps__validator").get(pk=step.workflow_id)
    return start(workflow, file(content), user=user, source=source, idempotency_key=key)


def stored_files(data_root: str) -> list[Path]:
    return [path for path in Path(data_root.removeprefix("file://")).rglob("*") if path.is_file()]


def test_run_leaves_out_disabled_steps(step: Step, user: User) -> None:
    StepFactory.create(workflow=step.workflow, order=2, is_enabled=False, validator=step.validator)

    run = started(step, user).run

    assert list(run.steps.values_list("order", flat=True)) == [1]


def test_workflow_with_disabled_steps_only_is_refused(step: Step, user: User) -> None:
    Step.objects.update(is_enabled=False)

    with pytest.raises(NotAdmitted, match="has no steps that are enabled"):
        started(step, user)


def test_start_creates_and_enqueues_run(
    step: Step, user: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        found = started(step, user, b'{"name": "Ada"}')

    run = Run.objects.get()
    assert (found.run.pk, found.replayed, run.result, run.user) == (run.pk, False, "PASS", user)
    kinds = list(RunEvent.objects.filter(run=run).values_list("kind", "actor"))
    assert kinds[:2] == [("created", user.email), ("queued", "")]


def test_start_keeps_what_the_step_says(step: Step, user: User) -> None:
    step_run = StepRun.objects.get(run=started(step, user).run)
    text = b'{"schema":{"required":["name"],"type":"object"}}'

    assert (step_run.name, step_run.validator, step_run.validator_version, step_run.image) == (
        "Check the name",
        "json-schema",
        "7",
        "",
    )
    assert step_run.config_digest == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(("key", "queries"), [("", 7), ("k", 8)])
def test_start_costs_few_queries(
    step: Step,
    user: User,
    key: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    Workflow.objects.update(frozen_at=timezone.now())
    workflow = Workflow.objects.prefetch_related("steps__validator", "organisation").get()

    with django_assert_num_queries(queries):  # begin and commit included
        start(workflow, file(), user=user, source="API", idempotency_key=key)


def test_repeated_key_returns_the_first_run(step: Step, user: User, data_root: str) -> None:
    first = started(step, user, LARGE, key="k")
    second = started(step, user, LARGE, key="k")

    assert (first.replayed, second.replayed) == (False, True)
    assert second.run == first.run
    assert (Run.objects.count(), Submission.objects.count()) == (1, 1)
    assert len(stored_files(data_root)) == 1


def test_key_with_other_content_is_refused(step: Step, user: User, data_root: str) -> None:
    started(step, user, key="k")

    message = "^This Idempotency-Key was sent before with other content"
    with pytest.raises(NotAdmitted, match=message) as raised:
        started(step, user, LARGE, key="k")

    assert (raised.value.status, raised.value.code) == (422, "idempotency_key_reused")
    assert stored_files(data_root) == []


@pytest.mark.parametrize(
    ("site", "own", "is_refused"), [(1, None, True), (0, None, False), (1, 0, False), (9, 1, True)]
)
def test_launch_quota_counts_unfinished_runs_of_organisation(
    step: Step, user: User, settings: Settings, site: int, own: int | None, is_refused: bool
) -> None:
    settings.LAUNCH_QUOTA = site
    organisation = step.workflow.organisation
    organisation.launch_quota = own
    organisation.save()
    RunFactory.create(status="RUNNING")  # of another organisation
    RunFactory.create(organisation=organisation, status="SUCCEEDED")
    started(step, user)

    if not is_refused:
        started(step, user)
        return
    with pytest.raises(NotAdmitted, match="unfinished runs"):
        started(step, user)


def test_repeated_key_returns_run_when_quota_is_used_up(
    step: Step, user: User, settings: Settings
) -> None:
    settings.LAUNCH_QUOTA = 1
    first = started(step, user, key="k")
    elsewhere = StepFactory.create(validator=step.validator)
    started(elsewhere, user, key="of another organisation")

    assert started(step, user, key="k").run == first.run
    for other, key in ((user, "of another organisation"), (UserFactory.create(), "k"), (user, "")):
        with pytest.raises(NotAdmitted, match="unfinished runs"):
            started(step, other, key=key)


def test_key_of_another_user_starts_another_run(step: Step, user: User) -> None:
    other = UserFactory.create()
    first, second = (started(step, each, key="k") for each in (user, other))

    assert first.run != second.run
    assert started(step, user, key="k").run == first.run
    assert started(step, other, key="k").run == second.run


def test_key_is_forgotten_after_a_day(step: Step, user: User) -> None:
    first = started(step, user, key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - dt.timedelta(hours=24, seconds=1))

    second = started(step, user, b"[]", key="k")

    assert (second.replayed, IdempotencyKey.objects.get().run) == (False, second.run)
    assert first.run != second.run


def test_failed_transaction_removes_the_stored_file(
    step: Step, user: User, data_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("connection lost")

    monkeypatch.setattr(service, "_insert", fail)
    with pytest.raises(OperationalError):
        started(step, user, LARGE)

    assert (stored_files(data_root), Run.objects.count()) == ([], 0)


def test_failed_removal_does_not_hide_the_error(
    step: Step, user: User, data_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("connection lost")

    def unavailable(submission: Submission) -> None:
        raise StorageError("storage is away")

    monkeypatch.setattr(service, "_insert", fail)
    monkeypatch.setattr("validibot.submissions.content.discard", unavailable)

    with pytest.raises(OperationalError):
        started(step, user, LARGE)


def test_file_is_kept_if_the_commit_succeeded_unnoticed(
    step: Step, user: User, data_root: str
) -> None:
    run = started(step, user, LARGE).run

    service._discard(run.submission, unless_saved=True)

    assert len(stored_files(data_root)) == 1


def test_unavailable_storage_creates_nothing(
    step: Step, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise StorageError("storage is away")

    monkeypatch.setattr("validibot.submissions.content.prepare", unavailable)

    with pytest.raises(StorageError):
        started(step, user, LARGE)

    assert (Run.objects.count(), Submission.objects.count()) == (0, 0)


def test_unaccepted_file_type_stores_nothing(step: Step, user: User, data_root: str) -> None:
    with pytest.raises(NotAdmitted, match=r"a\.txt"):
        start(step.workflow, file(LARGE, "a.txt"), user=user, source="API")

    assert stored_files(data_root) == []
