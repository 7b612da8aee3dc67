"""A run ends once, with one set of findings, whatever happens in whatever order."""

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from tests.factories import StepFactory, ValidatorFactory, started_run
from tests.unit.validibot.runs.scripted import ScriptedProvider, callback_of, store_output
from validators.sdk.storage.file import FileStorage
from validibot.core.storage import ObjectExists, StorageError
from validibot.runs import callback
from validibot.runs.backends.base import ExecutionState, LaunchRequest, Phase
from validibot.runs.events import record
from validibot.runs.execute import execute
from validibot.runs.lease import RunBusy
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, CallbackReceipt, Run, RunEvent, RunEvidence
from validibot.runs.outcome import _lock_run as lock_run
from validibot.runs.reconcile import look, on_execution_end
from validibot.runs.states import ACTIVE_ATTEMPT, RUN, terminal
from validibot.runs.sweep import run_sweep

MESSAGE = {"severity": "ERROR", "code": "E1", "text": "The answer is wrong."}
ENDS = {"passed", "failed", "error", "canceled", "timed_out"}


class World:
    """A run of one container step, and everything that may happen to it."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self.provider = provider
        self.storage_is_away = False
        provider.reset()
        step = StepFactory.create(
            validator=ValidatorFactory.create(container=True), workflow__constants=[]
        )
        self.run = started_run(step=step, filename="model.fmu", inline=b"PK")
        execute(self.run.pk)

    @property
    def request(self) -> LaunchRequest:
        return self.provider.requests[0]

    def store(self) -> None:
        try:
            store_output(self.request, status="failed_validation", messages=[MESSAGE])
        except ObjectExists:
            return

    def call_back(self) -> None:
        callback.process(callback_of(self.request))

    def forge(self) -> None:
        callback.process(callback_of(self.request, callback_nonce="x" * 43))

    def misname(self) -> None:
        callback.process(callback_of(self.request, result_uri="file:///etc/passwd"))

    def cancel(self) -> None:
        cancel_run(self.run.pk, actor="ada")

    def end(self) -> None:
        self.provider.phase = Phase.FAILED
        look(self.request.attempt_id)

    def see_the_end(self) -> None:
        on_execution_end(self.request.attempt_id, ExecutionState(phase=Phase.FAILED))

    def lose_the_execution(self) -> None:
        Attempt.objects.filter(step_run__run=self.run).update(
            timeout_at=timezone.now() - dt.timedelta(hours=1)
        )
        look(self.request.attempt_id)

    def deliver_again(self) -> None:
        try:
            execute(self.run.pk)
        except RunBusy:
            return

    def sweep(self) -> None:
        run_sweep()

    def lose_the_answer_to_the_launch(self) -> None:
        """Let the worker die before it has written down what the provider answered."""
        Attempt.objects.filter(step_run__run=self.run, state="RUNNING", called_back_at=None).update(
            state="DISPATCHING", execution=""
        )

    def take_storage_away(self) -> None:
        self.storage_is_away = True

    def bring_storage_back(self) -> None:
        self.storage_is_away = False

    def forget_the_execution(self) -> None:
        """Let the provider be sure that there is none; the attempt is old enough to believe it."""
        self.provider.found = self.provider.phase = Phase.ABSENT
        Attempt.objects.filter(step_run__run=self.run).update(
            created_at=timezone.now() - dt.timedelta(hours=1)
        )


NO_ACTIONS = ("request", "run", "provider", "storage_is_away")
ACTIONS = [name for name in vars(World) if not name.startswith("_") and name not in NO_ACTIONS]


def check(run: Run) -> None:
    """Check the invariants of docs/architecture.md: a run ends once, and everything of it with it."""
    run.refresh_from_db()
    kinds = Counter(run.events.values_list("kind", flat=True))
    ended = run.status in terminal(RUN)
    attempts = Attempt.objects.filter(step_run__run=run)
    assert sum(kinds[kind] for kind in ENDS) == ended
    assert sum(kinds[f"step_{end}"] for end in ("passed", "failed", "canceled")) <= 1
    assert run.findings.count() == (1 if run.result == "FAIL" else 0)
    active = attempts.filter(state__in=ACTIVE_ATTEMPT)
    assert active.count() <= (0 if ended else 1)
    assert not ended or not run.steps.filter(status__in=("PENDING", "RUNNING")).exists()
    assert (run.ended_at is not None) == ended
    assert run.lease_token is None
    assert kinds["output_found"] <= 1
    assert kinds["called_back"] == CallbackReceipt.objects.filter(run=run).count() - late(run)
    # An execution that may live is cancelled until it is known to have ended.
    dropped = attempts.filter(state__in=("CANCELED", "TIMED_OUT"), called_back_at=None)
    assert not dropped.filter(cancel_requested_at=None, launched_at__isnull=False).exists()
    assert RunEvidence.objects.filter(run=run).exists() == ended


def late(run: Run) -> int:
    """Return how many receipts are of callbacks that came after the end of their attempt."""
    return CallbackReceipt.objects.filter(run=run, attempt__called_back_at=None).count()


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=10))
def test_any_order_of_events_ends_a_run_once(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, actions: list[str]
) -> None:
    world = World(provider)
    ends = []

    def read(self: FileStorage, uri: str, **options: Any) -> bytes:
        if world.storage_is_away and uri.endswith("output.json"):
            raise StorageError("storage is away")
        return original(self, uri, **options)

    original = FileStorage.read
    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "read", read)
        for action in actions:
            with suppress(StorageError):
                getattr(world, action)()
            check(world.run)
            if world.run.state == "COMPLETED":
                ends.append((world.run.status, world.run.error_category, world.run.ended_at))

    assert len(set(ends)) <= 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(4))
def test_concurrent_ends_end_a_run_once(provider: ScriptedProvider, round_: int) -> None:
    world = World(provider)
    world.store()
    actions = [world.call_back, world.call_back, world.cancel, world.end, world.sweep]
    errors = at_once([*actions[round_:], *actions[:round_], world.call_back])

    assert errors == []
    check(world.run)
    assert world.run.state == "COMPLETED"


@pytest.mark.django_db(transaction=True)
def test_concurrent_deliveries_execute_a_run_once() -> None:
    run = started_run(step=StepFactory.create(), inline=b"{}")
    busy: list[bool] = []

    def deliver() -> None:
        try:
            execute(run.pk)
        except RunBusy:
            busy.append(True)

    assert at_once([deliver] * 6) == []

    run.refresh_from_db()
    assert (run.result, run.findings.count()) == ("FAIL", 1)
    assert run.events.filter(kind="delivered").count() == 1


@pytest.mark.django_db(transaction=True)
def test_event_is_written_while_outcome_locks_the_run(provider: ScriptedProvider) -> None:
    """Else who holds the attempt would wait for who waits for the attempt."""
    world = World(provider)
    attempt = Attempt.objects.select_related("step_run").get(step_run__run=world.run)

    def tell() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
            record(world.run.pk, RunEvent(step_run=attempt.step_run, kind="running"))

    with transaction.atomic():
        assert lock_run(attempt)
        assert at_once([tell]) == []


def at_once(actions: list[Callable[[], object]]) -> list[Exception]:
    """Do all in threads that start together; return what they raised."""
    errors: list[Exception] = []
    barrier = threading.Barrier(len(actions))

    def work(action: Callable[[], object]) -> None:
        try:
            barrier.wait()
            action()
        except Exception as error:  # noqa: BLE001 - the test reports it
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
