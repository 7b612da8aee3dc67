"""Two runs of one workflow: what happens to one changes no row of the other."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from tests.factories import UserFactory, started_run
from tests.unit.validibot.runs.scripted import ScriptedProvider, callback_of, store_output
from validibot.core.storage import StorageError
from validibot.notifications.models import RunNotice
from validibot.runs import callback, launch
from validibot.runs.backends.base import LaunchError, Phase
from validibot.runs.execute import execute
from validibot.runs.launch import LaunchPostponed
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, CallbackReceipt, Run, RunEvent, StepRun
from validibot.runs.reconcile import look, on_execution_end, stop_execution, time_out
from validibot.runs.states import AttemptState

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(provider: ScriptedProvider, container_run: Run) -> Run:
    """A run that waits for its validator, like `container_run`."""
    step = container_run.steps.get().step
    other = started_run(step=step, filename="other.fmu", inline=b"PK")
    for run in (container_run, other):
        execute(run.pk)
    return other


def rows(run: Run) -> list[Any]:
    models = (
        Run.objects.filter(pk=run.pk),
        StepRun.objects.filter(run=run),
        Attempt.objects.filter(step_run__run=run),
        RunEvent.objects.filter(run=run),
        CallbackReceipt.objects.filter(run=run),
    )
    return [list(rows.order_by("pk").values()) for rows in models]


def cancel(run: Run, provider: ScriptedProvider) -> None:
    assert cancel_run(run.pk, actor="ada")


def call_back(run: Run, provider: ScriptedProvider) -> None:
    store_output(provider.requests[0])
    for _ in range(2):
        assert callback.process(callback_of(provider.requests[0])).status == 200


def fail_to_read(run: Run, provider: ScriptedProvider) -> None:
    with pytest.MonkeyPatch.context() as patched:

        def fail(*_: object) -> None:
            raise StorageError("away")

        patched.setattr("validibot.runs.outcome.read_output", fail)
        assert callback.process(callback_of(provider.requests[0])).status == 503


def end_without_output(run: Run, provider: ScriptedProvider) -> None:
    provider.phase = Phase.FAILED
    assert not look(provider.requests[0].attempt_id)


def report_end(run: Run, provider: ScriptedProvider) -> None:
    on_execution_end(provider.requests[0].attempt_id, provider.state)


def exceed_time(run: Run, provider: ScriptedProvider) -> None:
    time_out(provider.requests[0].attempt_id)


def stop(run: Run, provider: ScriptedProvider) -> None:
    cancel(run, provider)
    provider.phase = Phase.CANCELED
    assert stop_execution(Attempt.objects.get(pk=provider.requests[0].attempt_id))


@pytest.mark.parametrize(
    "act", [cancel, call_back, fail_to_read, end_without_output, report_end, exceed_time, stop]
)
def test_event_of_one_run_leaves_the_other(
    provider: ScriptedProvider,
    container_run: Run,
    other: Run,
    act: Callable[[Run, ScriptedProvider], None],
) -> None:
    before, own = rows(other), rows(container_run)

    act(container_run, provider)

    assert rows(other) == before
    assert rows(container_run) != own


@pytest.mark.parametrize(
    "refusal", [LaunchError("no token", not_accepted=True), StorageError("no")]
)
def test_postponed_launch_deletes_only_its_attempt(
    provider: ScriptedProvider,
    container_run: Run,
    other: Run,
    refusal: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Attempt.objects.filter(step_run__run=other).update(state="DISPATCHING")
    third = started_run(step=container_run.steps.get().step, filename="c.fmu", inline=b"PK")
    Attempt.objects.filter(step_run__run=container_run).update(state="PENDING")
    if isinstance(refusal, LaunchError):
        provider.refusal = refusal
    else:

        def fail(*_: object, **__: object) -> None:
            raise refusal

        monkeypatch.setattr(launch, "store_envelope", fail)

    with pytest.raises(LaunchPostponed):
        execute(third.pk)

    assert Attempt.objects.count() == 2


@pytest.mark.parametrize(
    ("state", "left", "error"),
    [
        ("PENDING", "FAILED", "The worker died before the launch."),
        ("DISPATCHING", "UNKNOWN", "The worker died during the launch."),
    ],
)
def test_attempt_of_dead_worker_says_when_it_died(
    provider: ScriptedProvider, container_run: Run, other: Run, state: str, left: str, error: str
) -> None:
    Attempt.objects.update(state=state)

    execute(container_run.pk)

    attempt = Attempt.objects.get(step_run__run=container_run, number=1)
    assert (attempt.state, attempt.error) == (left, error)
    assert Attempt.objects.get(step_run__run=other).state == state


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_free_run_goes_on_after_its_callback(
    provider: ScriptedProvider, container_run: Run, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that still holds the run at that moment goes on by itself."""
    now = timezone.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    execute(container_run.pk)
    monkeypatch.setattr("validibot.runs.outcome.close_step", lambda *_, **__: False)
    enqueued: list[Run] = []
    monkeypatch.setattr("validibot.runs.queue.enqueue_run", enqueued.append)
    Run.objects.update(lease_expires_at=now + dt.timedelta(seconds=seconds))
    store_output(provider.requests[0])

    callback.process(callback_of(provider.requests[0]))

    assert enqueued == ([container_run] if seconds <= 0 else [])


def test_callback_faster_than_launch_answer_starts_the_attempt(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    Attempt.objects.update(state="DISPATCHING", launched_at=None)
    RunEvent.objects.all().delete()
    store_output(provider.requests[0])

    callback.process(callback_of(provider.requests[0]))

    attempt = Attempt.objects.get()
    events = list(RunEvent.objects.order_by("pk").values_list("kind", "actor", "step_run"))
    step_run = attempt.step_run_id
    assert events[:2] == [
        ("running", "validator", step_run),
        ("called_back", "validator", step_run),
    ]
    assert RunEvent.objects.order_by("pk")[0].data == {"attempt": str(attempt.pk)}
    assert attempt.launched_at
    assert attempt.state == AttemptState.COMPLETED


@pytest.mark.parametrize(
    ("source", "has_user", "ends", "notices"),
    [
        ("LAUNCH_PAGE", True, "times out", 1),
        ("SCHEDULE", True, "times out", 1),
        ("LAUNCH_PAGE", True, "passes", 0),
        ("LAUNCH_PAGE", False, "times out", 0),
        ("API", True, "times out", 0),
    ],
)
def test_notice_without_preferences_is_for_failures_of_people(
    container_run: Run,
    provider: ScriptedProvider,
    *,
    source: str,
    has_user: bool,
    ends: str,
    notices: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enqueued: list[Any] = []
    monkeypatch.setattr("validibot.runs.queue.enqueue_notices", enqueued.append)
    Run.objects.update(source=source, user=UserFactory.create() if has_user else None)
    execute(container_run.pk)
    if ends == "passes":
        call_back(container_run, provider)
    else:
        exceed_time(container_run, provider)

    assert enqueued == [container_run.pk] * notices
    assert RunNotice.objects.count() == notices
