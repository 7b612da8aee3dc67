"""Leftovers of attempts are removed when these have ended, and not before."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from tests.unit.validibot.runs.scripted import ScriptedBackend, ScriptedProvider
from validibot.runs.backends.base import ExecutionState, Over, Phase, StateUnavailable
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, Run
from validibot.runs.reconcile import look, on_execution_end
from validibot.runs.sweep import run_sweep

type Sweep = Callable[[set[UUID]], set[UUID]]


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Sweep where these attempts have left something; return those that are swept away."""
    swept: set[UUID] = set()
    left: set[UUID] = set()

    def tidy(self: ScriptedBackend, over: Over) -> int:
        swept.update(over(left))
        return len(swept)

    def reconcile(attempts: set[UUID]) -> set[UUID]:
        swept.clear()
        left.clear()
        left.update(attempts)
        run_sweep()
        return set(swept)

    monkeypatch.setattr(ScriptedBackend, "sweep", tidy)
    return reconcile


def test_leftovers_of_ended_and_unknown_attempts_are_removed(
    provider: ScriptedProvider, container_run: Run, sweep: Sweep
) -> None:
    execute(container_run.pk)
    attempt, unknown = Attempt.objects.get().pk, uuid4()
    assert sweep({attempt, unknown}) == {unknown}

    cancel_run(container_run.pk, actor="ada@example.org")

    assert sweep({attempt, unknown}) == {attempt, unknown}


def test_unreachable_backend_does_not_stop_sweep(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: ScriptedBackend, over: Over) -> int:
        raise StateUnavailable("nobody answers")

    monkeypatch.setattr(ScriptedBackend, "sweep", silent)

    assert run_sweep() == {
        "enqueued": 0,
        "looked_at": 0,
        "cancelled": 0,
        "messages": 0,
        "scheduled": 0,
        "probes": 0,
        "images": 0,
        "exports": 0,
    }


def test_end_without_output_reports_the_backends_message(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    provider.unavailable = True

    ended = ExecutionState(phase=Phase.FAILED, message="Exit code 1.")
    on_execution_end(Attempt.objects.get().pk, ended)

    container_run.refresh_from_db()
    assert container_run.error == "The validator stored no output. Exit code 1."


def test_timeout_of_unanswered_launch_reports_its_error(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    provider.unavailable = True
    Attempt.objects.update(state="UNKNOWN", error="The engine is away.")

    assert not look(Attempt.objects.get().pk, overdue=True)

    container_run.refresh_from_db()
    assert container_run.result == "TIMED_OUT"
    assert container_run.error.endswith("Its launch had no answer: The engine is away.")
