"""Every scenario of mocked validators, by the doors through which real ones come."""

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from tests.factories import StepFactory, ValidatorFactory, started_run
from validibot.core.storage import StorageError
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import Phase
from validibot.runs.backends.mock.containers import containers
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, CallbackReceipt, Run
from validibot.runs.reconcile import SILENCE_GRACE
from validibot.runs.sweep import run_sweep
from validibot.workflows.scenarios import CATALOGUE

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("data_root", "time"),
]
ENDS = ("passed", "failed", "error", "canceled", "timed_out")


class Time:
    """Stands still until the test lets it pass; then all of it passes at once."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._passes = threading.Event()

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        self.asked.append(seconds)
        assert self._passes.wait(60)
        return stopped.is_set()

    def let_pass(self) -> None:
        self._passes.set()
        assert containers.join(60)


@pytest.fixture
def time(settings: Settings) -> Iterator[Time]:
    time = Time()
    settings.EXECUTION_BACKENDS = {
        "default": {
            "BACKEND": "validibot.runs.backends.mock.MockBackend",
            "OPTIONS": {"wait": time.wait},
        }
    }
    yield time
    time.let_pass()


def launched(scenario: str) -> Run:
    """Return a run whose mocked EnergyPlus plays a scenario."""
    validator = ValidatorFactory.create(
        container=True,
        validation_type="ENERGYPLUS",
        memory_mb=512,
        timeout_seconds=60,
        accepts=[{"extension": ".idf", "mime_type": "application/vnd.energyplus.idf"}],
    )
    run = started_run(
        step=StepFactory.create(validator=validator, config={}),
        filename="office.idf",
        inline=b"Version,25.2;",
    )
    Run.objects.filter(pk=run.pk).update(scenario=scenario)
    execute(run.pk)
    return run


@dataclass(frozen=True)
class End:
    result: str
    attempt: str = "COMPLETED"
    category: str = ""
    error: str = ""
    findings: int = 0
    answers: int = 1


# Recordings of EnergyPlus tell the changes of the working copy.
PASSED = End("PASS", findings=1)
BROKEN = End("ERROR", "FAILED", "RUNTIME_ERROR")
SILENT = "The validator stored no output."
LATE = End("TIMED_OUT", "TIMED_OUT", "TIMEOUT", "did not answer within its 60 seconds", answers=0)
ENDINGS = {
    "pass": PASSED,
    "fail": End("FAIL", category="VALIDATION_FAILED", findings=4),
    "fail(7)": End("FAIL", category="VALIDATION_FAILED", findings=7),
    # More than are kept: one says how many were left out.
    "fail(1200)": End("FAIL", category="VALIDATION_FAILED", findings=1200),
    "warnings": End("PASS", findings=3),
    "warnings(5)": End("PASS", findings=5),
    "slow(2)": PASSED,
    "crash": End(
        "ERROR", "FAILED", "RUNTIME_ERROR", f"{SILENT} Its process crashed with exit", answers=0
    ),
    "out_of_memory": End(
        "ERROR", "FAILED", "OOM", f"{SILENT} It took more memory than its 512 MiB", answers=0
    ),
    "timeout": LATE,
    "never_calls_back": End("ERROR", "FAILED", "RUNTIME_ERROR", SILENT, answers=0),
    "calls_back_twice": End("PASS", findings=1, answers=2),
    "late": End(LATE.result, LATE.attempt, LATE.category, LATE.error, answers=1),
    "before_launch_returns": PASSED,
    "forged_nonce": PASSED,
    "wrong_run": End(
        "ERROR", "FAILED", "RUNTIME_ERROR", "does not belong to this attempt: run_id", answers=0
    ),
    "malformed_output": End("ERROR", "FAILED", "RUNTIME_ERROR", "output is malformed: run_id"),
    "oversized_output": End("ERROR", "FAILED", "RUNTIME_ERROR", "is larger than 26,214,400 bytes"),
    "cancelled": End("CANCELED", "CANCELED", answers=0),
}


@pytest.mark.parametrize("scenario", ENDINGS)
def test_scenario_ends_run_once_with_expected_result(scenario: str, time: Time) -> None:
    run = launched(scenario)

    time.let_pass()

    run.refresh_from_db()
    end = ENDINGS[scenario]
    attempt = Attempt.objects.get()
    assert (run.state, run.result, run.error_category) == ("COMPLETED", end.result, end.category)
    assert end.error in run.error
    assert bool(end.error) == bool(run.error)
    assert (attempt.state, run.findings.count()) == (end.attempt, end.findings)
    assert run.events.filter(kind__in=ENDS).count() == 1
    assert sum(CallbackReceipt.objects.values_list("deliveries", flat=True)) == end.answers


def test_every_scenario_has_its_test() -> None:
    assert {scenario.partition("(")[0] for scenario in ENDINGS} == set(CATALOGUE)


@pytest.mark.parametrize(
    ("scenario", "seconds"),
    [
        ("slow", 5),
        ("slow(0.5)", 0.5),
        ("timeout(7)", 7),
        ("never_calls_back", 3),
        ("late", 3),
        ("cancelled", 1),
    ],
)
def test_slow_scenario_leaves_run_running(scenario: str, seconds: float, time: Time) -> None:
    run = launched(scenario)

    run.refresh_from_db()
    assert (run.state, run.lease_token) == ("RUNNING", None)
    time.let_pass()
    assert time.asked == [seconds]


@pytest.mark.parametrize(
    ("scenario", "result", "after"),
    [
        ("timeout", "TIMED_OUT", dt.timedelta(seconds=181)),
        ("never_calls_back", "ERROR", dt.timedelta(seconds=61)),
    ],
)
def test_silence_is_ended_by_the_sweep(
    scenario: str, result: str, after: dt.timedelta, time: Time
) -> None:
    run = launched(scenario)
    assert run_sweep()["looked_at"] == 0

    with time_machine.travel(timezone.now() + after):
        assert run_sweep()["looked_at"] == 1

    run.refresh_from_db()
    assert run.result == result
    time.let_pass()
    assert run.events.filter(kind__in=ENDS).count() == 1


def test_container_of_another_process_is_waited_for(time: Time) -> None:
    run = launched("slow")
    Attempt.objects.update(execution="mock-of-another-process")
    attempt = Attempt.objects.get()

    with time_machine.travel(attempt.timeout_at + SILENCE_GRACE):
        run_sweep()

    run.refresh_from_db()
    assert run.result == "TIMED_OUT"


def test_late_mock_callback_changes_nothing(time: Time) -> None:
    run = launched("late")
    time.let_pass()

    run.refresh_from_db()
    assert (run.result, run.findings.count(), run.artifacts.count()) == ("TIMED_OUT", 0, 0)
    assert CallbackReceipt.objects.get().status == "COMPLETED"
    assert not run.events.filter(kind="called_back").exists()


def test_cancelled_container_sends_no_callback(time: Time) -> None:
    run = launched("slow")
    execution = Attempt.objects.get().execution

    assert cancel_run(run.pk, actor="ada")
    get_backend().cancel(execution)
    time.let_pass()

    assert get_backend().state(execution).phase is Phase.CANCELED
    assert not CallbackReceipt.objects.exists()


def test_backend_reports_state_of_its_containers(time: Time) -> None:
    launched("slow")
    attempt, backend = Attempt.objects.get(), get_backend()

    found = backend.find(job="validibot-validator-fmu", input_uri=attempt.input_uri)
    assert (found.phase, found.execution) == (Phase.RUNNING, attempt.execution)
    assert backend.find(job="another", input_uri=attempt.input_uri).phase is Phase.UNKNOWN
    assert backend.state("mock-nothing").phase is Phase.UNKNOWN
    assert not backend.cancel("mock-nothing")
    assert backend.cancel(attempt.execution)
    assert not backend.cancel(attempt.execution)


@pytest.mark.parametrize(
    ("scenario", "phase"),
    [
        ("pass", Phase.SUCCEEDED),
        ("malformed_output", Phase.SUCCEEDED),
        ("crash", Phase.FAILED),
        ("never_calls_back", Phase.SUCCEEDED),
        ("timeout", Phase.CANCELED),
        ("cancelled", Phase.CANCELED),
    ],
)
def test_ended_container_reports_its_phase(scenario: str, phase: Phase, time: Time) -> None:
    launched(scenario)
    time.let_pass()

    execution = Attempt.objects.get().execution
    state = get_backend().state(execution)
    assert (state.phase, state.execution) == (phase, execution)


def test_container_with_failed_storage_ends_its_run(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = launched("slow")
    attempt = Attempt.objects.get()
    monkeypatch.setattr(
        "validibot.runs.backends.mock.containers.MockValidator.write", lambda *_: 1 / 0
    )

    time.let_pass()

    run.refresh_from_db()
    assert run.result == "ERROR"
    assert run.error == f"{SILENT} The mocked container failed; see its log."
    assert get_backend().state(attempt.execution).phase is Phase.FAILED


def test_launch_with_failed_storage_is_found_as_failed(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("validibot.runs.backends.mock.containers.MockValidator.write", refuse)
    run = launched("pass")
    assert Attempt.objects.get().state == "UNKNOWN"

    with time_machine.travel(timezone.now() + dt.timedelta(seconds=61)):
        run_sweep()

    run.refresh_from_db()
    assert (run.result, run.error) == ("ERROR", f"{SILENT} the disk is full")
