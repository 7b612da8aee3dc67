"""Retries: what they take over, what they execute, and which runs have one."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.factories import (
    ArtifactFactory,
    StepFactory,
    UserFactory,
    ValidatorFactory,
    started_run,
)
from tests.unit.validibot.runs.scripted import ScriptedProvider
from validibot.accounts.models import User
from validibot.core.storage import get_storage
from validibot.runs.access import NotAdmitted
from validibot.runs.backends.base import LaunchError
from validibot.runs.deletion import delete_runs
from validibot.runs.evidence import evidence_of
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Run, StepRun
from validibot.runs.rerun import rerun, retry
from validibot.runs.takeover import failed_step, living_retry
from validibot.workflows.models import OnFailure, Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return UserFactory.create()


@pytest.fixture
def steps() -> list[Step]:
    """A step that finds an error and lets the run go on, and one that runs in a container."""
    first = StepFactory.create(on_failure=OnFailure.CONTINUE)
    container = ValidatorFactory.create(container=True)
    return [first, StepFactory.create(workflow=first.workflow, order=2, validator=container)]


@pytest.fixture
def failed(steps: list[Step], provider: ScriptedProvider, data_root: str) -> Run:
    """A run with an artifact of its first step; the provider refused to start the second."""
    run = started_run(step=steps[0], filename="a.json", inline=b"{}")
    provider.refusal = LaunchError("no such image", permanent=True)
    execute(run.pk)
    uri = f"{data_root}/runs/{run.organisation_id}/{run.pk}/attempts/one/table.csv"
    stored = get_storage(uri).create(uri, b"1,2", mime_type="text/csv")
    ArtifactFactory.create(
        step_run=run.steps.get(order=1), uri=uri, storage_version=stored.version, name="table.csv"
    )
    provider.refusal = None
    return Run.objects.get(pk=run.pk)


def retried(run: Run, user: User) -> Run:
    return retry(run, user=user, source=Run.Source.API).run


def test_retry_takes_over_finished_steps_and_executes_the_failed_one(
    failed: Run, user: User, provider: ScriptedProvider
) -> None:
    asked = len(provider.requests)
    run = retried(failed, user)
    execute(run.pk)

    first, second = run.steps.order_by("order")
    assert (failed.result, run.retry_of, run.workflow) == ("ERROR", failed, failed.workflow)
    assert (first.status, first.taken_over_from) == ("FAILED", str(failed.pk))
    assert (second.status, second.taken_over_from) == ("RUNNING", "")
    assert len(provider.requests) == asked + 1
    names = ("severity", "code", "message", "order")
    assert list(first.findings.values(*names)) == list(failed.findings.values(*names)) != []
    kinds = list(run.events.values_list("kind", flat=True))
    assert kinds[:3] == ["created", "step_taken_over", "queued"]


def test_results_of_a_retry_survive_the_deletion_of_its_run(failed: Run, user: User) -> None:
    run = retried(failed, user)
    delete_runs(Run.objects.filter(pk=failed.pk))

    artifact = run.artifacts.get()
    assert get_storage(artifact.uri).read(artifact.uri, limit=9) == b"1,2"
    assert run.steps.get(order=1).taken_over_from == str(failed.pk)


def test_evidence_of_a_retry_names_the_run_that_executed_a_step(failed: Run, user: User) -> None:
    before = {"run": "0", "image_digest": "sha256:1", "access": {"network": "none"}}
    failed.steps.filter(order=1).update(taken_over=before)
    run = retried(failed, user)
    cancel_run(run.pk, actor="ada")

    contents = evidence_of(Run.objects.get(pk=run.pk)).contents
    assert contents["retry_of"] == str(failed.pk)
    first, second = contents["steps"]
    assert (first["taken_over_from"], first["image_digest"]) == ("0", "sha256:1")
    assert first["network"] == "none"
    assert "taken_over_from" not in second


def test_second_retry_returns_the_first_until_it_is_cancelled(failed: Run, user: User) -> None:
    first = retry(failed, user=user, source=Run.Source.API)
    second = retry(failed, user=user, source=Run.Source.API, idempotency_key="another")
    cancel_run(first.run.pk, actor="ada")
    third = retry(failed, user=user, source=Run.Source.API)

    assert (second.run, second.replayed) == (first.run, True)
    assert third.run != first.run


def overlook_retry_once(monkeypatch: pytest.MonkeyPatch, then: Callable[[], Any] = str) -> None:
    """Let `retry` see no earlier one at first, as if it was committed just then."""
    answers = iter([lambda: None])

    def found(run: Run) -> Run | None:
        if answer := next(answers, None):
            return answer()
        then()
        return living_retry(run)

    monkeypatch.setattr("validibot.runs.rerun.living_retry", found)


def test_retry_that_lost_the_race_to_a_cancelled_one_is_started(
    failed: Run, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = retried(failed, user)
    overlook_retry_once(monkeypatch, then=lambda: cancel_run(first.pk, actor="ada"))

    second = retry(failed, user=user, source=Run.Source.API)

    assert (second.run.retry_of, second.replayed) == (failed, False)
    assert second.run != first


def test_retry_that_lost_the_race_returns_the_other_one(
    failed: Run, user: User, monkeypatch: pytest.MonkeyPatch, data_root: str
) -> None:
    first = retried(failed, user)
    overlook_retry_once(monkeypatch)

    second = retry(failed, user=user, source=Run.Source.API)

    assert (second.run, second.replayed) == (first, True)
    folder = f"{data_root}/runs/{failed.organisation_id}/"
    found = [each.uri for each in get_storage(folder).list_below(folder)]
    assert sum(uri.endswith("table.csv") for uri in found) == 2


def test_idempotency_key_of_a_rerun_is_refused_for_a_retry(failed: Run, user: User) -> None:

    rerun(failed, failed.workflow, user=user, source=Run.Source.API, idempotency_key="k")

    with pytest.raises(NotAdmitted, match="other content"):
        retry(failed, user=user, source=Run.Source.API, idempotency_key="k")


def test_retry_without_its_artifact_is_refused(failed: Run, user: User) -> None:
    get_storage(failed.artifacts.get().uri).delete(failed.artifacts.get().uri)

    with pytest.raises(NotAdmitted, match="not kept any more") as refusal:
        retry(failed, user=user, source=Run.Source.API)
    assert refusal.value.code == "ARTIFACT_REMOVED"
    assert not Run.objects.filter(retry_of=failed).exists()


@pytest.mark.parametrize(
    ("status", "category", "word"),
    [
        ("SUCCEEDED", "", "Passed"),
        ("FAILED", "VALIDATION_FAILED", "Failed"),
        ("CANCELED", "", "Cancelled"),
    ],
)
def test_retry_of_another_result_is_refused(
    failed: Run, user: User, status: str, category: str, word: str
) -> None:
    failed.status, failed.error_category = status, category

    with pytest.raises(NotAdmitted, match=f"The state of this run is “{word}”"):
        retry(failed, user=user, source=Run.Source.API)


@pytest.mark.parametrize(
    ("error", "steps_", "expected"),
    [
        ("late", [("PASSED", "", None), ("FAILED", "late", None), ("SKIPPED", "", None)], 2),
        ("late", [("FAILED", "", []), ("SKIPPED", "", None)], 2),
        ("down", [("SKIPPED", "", []), ("FAILED", "down", [])], 2),
        ("down", [("FAILED", "down", []), ("SKIPPED", "", None)], 1),
        ("down", [("SKIPPED", "", None)], 1),
    ],
)
def test_failed_step_is_the_first_without_result(
    error: str, steps_: list[tuple[str, str, Any]], expected: int
) -> None:
    """A step has a summary of findings if it ended by a verdict, and not with its run."""
    run = Run(status="FAILED", error_category="SYSTEM_ERROR", error=error)
    rows = [
        StepRun(order=order, status=status, error=words, rules=rules)
        for order, (status, words, rules) in enumerate(steps_, start=1)
    ]

    found = failed_step(run, rows)

    assert found is not None
    assert found.order == expected
