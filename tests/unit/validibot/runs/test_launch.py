"""Launches that are refused, unanswered, interrupted or answered late."""

import datetime as dt

import pytest
from django.utils import timezone

from tests.factories import AttemptFactory
from tests.unit.validibot.runs.scripted import ScriptedProvider, callback_of, store_output
from validators.sdk.storage.file import FileStorage
from validibot.core.storage import StorageError
from validibot.runs import callback
from validibot.runs.backends.base import Launch, LaunchError, LaunchRequest, Phase
from validibot.runs.execute import execute
from validibot.runs.launch import LaunchPostponed
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, Run
from validibot.runs.reconcile import look
from validibot.workflows.models import Step


def later(minutes: float) -> None:
    """Let an attempt be that old."""
    Attempt.objects.update(created_at=timezone.now() - dt.timedelta(minutes=minutes))


def test_refused_launch_ends_run_as_error(provider: ScriptedProvider, container_run: Run) -> None:
    provider.refusal = LaunchError("Permission denied", permanent=True)

    execute(container_run.pk)

    container_run.refresh_from_db()
    assert (container_run.result, Attempt.objects.get().state) == ("ERROR", "FAILED")
    assert "Permission denied" in container_run.error


def test_unanswered_launch_is_not_repeated(provider: ScriptedProvider, container_run: Run) -> None:
    provider.refusal = LaunchError("Unavailable")
    execute(container_run.pk)

    execute(container_run.pk)

    assert len(provider.requests) == 1
    assert Attempt.objects.get().state == "UNKNOWN"


@pytest.mark.parametrize(
    ("found", "state"), [(Phase.RUNNING, "RUNNING"), (Phase.SUCCEEDED, "FAILED")]
)
def test_accepted_launch_without_answer_is_found(
    provider: ScriptedProvider, container_run: Run, found: Phase, state: str
) -> None:
    provider.refusal = LaunchError("Unavailable")
    execute(container_run.pk)
    provider.found = found

    assert look(Attempt.objects.get().pk) == (found is Phase.RUNNING)

    attempt = Attempt.objects.get()
    assert attempt.state == state
    assert (attempt.execution, attempt.image_digest) == ("execution-1", "sha256:1")


def test_absent_execution_is_launched_again(provider: ScriptedProvider, container_run: Run) -> None:
    provider.refusal = LaunchError("Unavailable")
    execute(container_run.pk)
    provider.refusal = None
    later(minutes=1)

    assert not look(Attempt.objects.get().pk)
    execute(container_run.pk)

    states = list(Attempt.objects.order_by("number").values_list("state", flat=True))
    assert states == ["FAILED", "RUNNING"]
    assert provider.requests[0].output_uri != provider.requests[1].output_uri


def test_launch_is_given_up_after_five_attempts(
    provider: ScriptedProvider, container_run: Run
) -> None:
    provider.refusal = LaunchError("Unavailable")
    for _ in range(6):
        execute(container_run.pk)
        later(minutes=1)
        look(Attempt.objects.latest("number").pk)

    container_run.refresh_from_db()
    assert len(provider.requests) == 5
    assert (container_run.result, Attempt.objects.count()) == ("ERROR", 6)
    assert container_run.error.endswith("in 5 attempts. Unavailable")


def test_attempt_never_launched_is_replaced(provider: ScriptedProvider, container_run: Run) -> None:
    execute(container_run.pk)
    Attempt.objects.update(state="PENDING", execution="")

    execute(container_run.pk)

    states = list(Attempt.objects.order_by("number").values_list("state", flat=True))
    assert states == ["FAILED", "RUNNING"]


def test_worker_death_during_launch_leaves_attempt_unknown(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    Attempt.objects.update(state="DISPATCHING", execution="")

    execute(container_run.pk)

    assert Attempt.objects.get().state == "UNKNOWN"
    assert len(provider.requests) == 1


def test_callback_before_launch_result_is_applied(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: object, request: LaunchRequest) -> Launch:
        store_output(request)
        assert callback.process(callback_of(request)).status == 200
        return Launch(execution="execution-1")

    monkeypatch.setattr("tests.unit.validibot.runs.scripted.ScriptedBackend.launch", launch)

    execute(container_run.pk)

    container_run.refresh_from_db()
    attempt = Attempt.objects.get()
    assert container_run.result == "PASS"
    assert (attempt.state, attempt.execution) == ("COMPLETED", "execution-1")
    assert attempt.image_digest == "sha256:1"


def test_image_digest_of_launch_is_kept(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: object, request: LaunchRequest) -> Launch:
        return Launch(execution="execution-1", image_digest="sha256:9")

    monkeypatch.setattr("tests.unit.validibot.runs.scripted.ScriptedBackend.launch", launch)

    execute(container_run.pk)

    assert Attempt.objects.get().image_digest == "sha256:9"


def test_cancel_during_launch_cancels_execution(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: object, request: LaunchRequest) -> Launch:
        cancel_run(request.run_id, actor="ada")
        return Launch(execution="execution-1")

    monkeypatch.setattr("tests.unit.validibot.runs.scripted.ScriptedBackend.launch", launch)
    now = timezone.now()
    other = AttemptFactory.create(cancel_requested_at=now, execution_ended_at=now)

    execute(container_run.pk)

    assert provider.cancelled == ["execution-1"]
    attempt = Attempt.objects.get(step_run__run=container_run)
    assert (attempt.state, attempt.execution) == ("CANCELED", "execution-1")
    assert attempt.launched_at
    other.refresh_from_db()
    assert other.execution_ended_at == now


def test_invalid_configuration_ends_run_as_error(
    provider: ScriptedProvider, container_run: Run
) -> None:
    Step.objects.update(config={"simulation": {"step_size": -1}})

    execute(container_run.pk)

    container_run.refresh_from_db()
    assert container_run.result == "ERROR"
    assert "step_size" in container_run.error
    assert not provider.requests


def test_storage_outage_before_launch_is_retried(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileStorage, uri: str, content: bytes, *, mime_type: str) -> None:
        raise StorageError("out of order")

    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "create", fail)
        with pytest.raises(LaunchPostponed):
            execute(container_run.pk)

    execute(container_run.pk)

    assert len(provider.requests) == 1
    assert Attempt.objects.latest("number").state == "RUNNING"


def test_unsafe_file_name_is_replaced(provider: ScriptedProvider, container_run: Run) -> None:
    submission = container_run.submission
    submission.filename = "../Mein Haus ☃/.-büro*?.FMU"
    submission.save()

    execute(container_run.pk)

    assert provider.requests[0].input_uri.endswith("/input.json")
    container_run.refresh_from_db()
    assert container_run.status == "RUNNING"
