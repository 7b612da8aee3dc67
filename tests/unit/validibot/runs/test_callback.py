"""A container step from launch to callback, and what is refused on the way."""

import datetime as dt

import pytest
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tests.factories import AssertionFactory, StepFactory, started_run
from tests.unit.validibot.runs.scripted import (
    ScriptedProvider,
    callback_of,
    post,
    read_input,
    store_output,
)
from validators.sdk.storage.file import FileStorage
from validibot.core.storage import StorageError, get_storage
from validibot.engines import EngineBusy
from validibot.runs import callback
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, CallbackReceipt, Run, RunEvent

NO_ATTEMPT = "No attempt of this run has this callback_id."


def kinds(run: Run) -> list[str]:
    return list(RunEvent.objects.filter(run=run).values_list("kind", flat=True))


def test_launched_run_waits_without_lease(request_: LaunchRequest, container_run: Run) -> None:
    container_run.refresh_from_db()
    attempt = Attempt.objects.get()

    assert (container_run.status, container_run.lease_token) == ("RUNNING", None)
    assert (attempt.state, attempt.execution) == ("RUNNING", "execution-1")
    assert kinds(container_run) == ["delivered", "step_started", "launched", "running"]


@pytest.mark.parametrize(("unavailable", "digest"), [(False, "sha256:1"), (True, "")])
def test_callback_fetches_image_digest_if_missing(
    request_: LaunchRequest, provider: ScriptedProvider, *, unavailable: bool, digest: str
) -> None:
    provider.unavailable = unavailable
    store_output(request_)

    assert post(request_).status == 200

    assert Attempt.objects.get().image_digest == digest


def test_envelope_names_files_by_role_and_port(request_: LaunchRequest) -> None:
    envelope = read_input(request_)
    file = envelope.input_files[0]

    assert (file.name, file.role, file.port_key) == ("model.fmu", "fmu", "fmu_model")
    assert file.mime_type.value == "application/vnd.fmi.fmu"
    content = get_storage(file.uri).read(file.uri, version=file.storage_version, limit=10)
    assert content == b"PK"
    assert str(envelope.context.callback_url) == "http://localhost:8001/internal/callbacks/"


def test_of_the_nonce_only_a_digest_is_kept(request_: LaunchRequest) -> None:
    nonce = read_input(request_).context.callback_nonce or ""

    row = Attempt.objects.values().get()

    assert len(nonce) == 43
    assert not any(nonce in str(value) for value in row.values())


def test_callback_ends_run(request_: LaunchRequest, container_run: Run) -> None:
    store_output(request_)

    reply = post(request_)

    container_run.refresh_from_db()
    assert (reply.status, container_run.result) == (200, "PASS")
    step_run = container_run.steps.get()
    assert step_run.outputs == {"time": 10.0, "y": 2.0}
    values = [(each.label, each.value, each.unit) for each in step_run.output_values()]
    assert values == [("Time", 10.0, "s"), ("y", 2.0, "")]
    assert Attempt.objects.get().state == "COMPLETED"
    assert CallbackReceipt.objects.get().status == "COMPLETED"
    assert kinds(container_run)[-3:] == ["called_back", "step_passed", "passed"]


def test_repeated_callback_is_applied_once(request_: LaunchRequest, container_run: Run) -> None:
    store_output(request_)
    post(request_)

    reply = post(request_)

    receipt = CallbackReceipt.objects.get()
    assert reply == callback.CallbackReply(
        200,
        {
            "message": "This callback was processed before.",
            "idempotent_replayed": True,
            "original_received_at": receipt.received_at.isoformat(),
        },
    )
    assert receipt.deliveries == 2
    assert kinds(container_run).count("step_passed") == 1


def test_late_callback_is_ignored(request_: LaunchRequest, container_run: Run) -> None:
    cancel_run(container_run.pk, actor="ada")
    store_output(request_)

    reply = post(request_)

    container_run.refresh_from_db()
    assert reply == callback.CallbackReply(
        200, {"message": "Too late.", "late_callback_ignored": True}
    )
    assert container_run.result == "CANCELED"


def test_callback_of_ended_attempt_changes_nothing_of_its_run(
    request_: LaunchRequest, container_run: Run
) -> None:
    Attempt.objects.update(state="FAILED")
    before = kinds(container_run)
    store_output(request_)

    assert post(request_).body["late_callback_ignored"] is True

    container_run.refresh_from_db()
    assert (container_run.status, kinds(container_run)) == ("RUNNING", before)
    assert Attempt.objects.get().called_back_at is None
    assert CallbackReceipt.objects.get().status == "COMPLETED"


def test_next_step_starts_after_callback(
    provider: ScriptedProvider,
    container_run: Run,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    first = container_run.steps.get().step
    second = StepFactory.create(
        workflow=first.workflow,
        order=2,
        validator__engine="assertions",
        config={"document": False},
    )
    AssertionFactory.create(step=second, expression="steps['1'].y == 2.0")
    run = started_run(step=first, filename="model.fmu", inline=b"PK")
    execute(run.pk)
    store_output(provider.requests[0])

    with django_capture_on_commit_callbacks(execute=True):
        post(provider.requests[0])

    run.refresh_from_db()
    assert run.result == "PASS"
    assert kinds(run).count("step_passed") == 2


def test_failed_container_step_that_continues_is_followed_by_the_next(
    provider: ScriptedProvider,
    container_run: Run,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    first = container_run.steps.get().step
    first.on_failure = "continue"
    first.save()
    AssertionFactory.create(step=first, expression="output.y < 1.0")
    StepFactory.create(
        workflow=first.workflow,
        order=2,
        validator__engine="assertions",
        config={"document": False},
    )
    run = started_run(step=first, filename="model.fmu", inline=b"PK")
    execute(run.pk)
    store_output(provider.requests[0])

    with django_capture_on_commit_callbacks(execute=True):
        post(provider.requests[0])

    run.refresh_from_db()
    assert list(run.steps.values_list("status", flat=True)) == ["FAILED", "PASSED"]
    assert run.result == "FAIL"


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"callback_nonce": "x" * 43}, 403, "The callback_nonce is wrong."),
        ({"run_id": "11111111-1111-4111-8111-111111111111"}, 400, NO_ATTEMPT),
        (
            {"callback_id": "execution-attempt-11111111-1111-4111-8111-111111111111"},
            400,
            NO_ATTEMPT,
        ),
        ({"callback_id": "nonsense\0"}, 400, NO_ATTEMPT),
        ({"callback_id": "execution-attempt-'; DROP TABLE runs_run; --"}, 400, NO_ATTEMPT),
    ],
)
def test_forged_callback_changes_nothing(
    request_: LaunchRequest, container_run: Run, changes: dict[str, str], status: int, message: str
) -> None:
    reply = post(request_, **changes)

    container_run.refresh_from_db()
    assert reply == callback.CallbackReply(status, {"message": message, "detail": message})
    assert container_run.status == "RUNNING"
    assert not CallbackReceipt.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"no JSON", b"{}", b"[]", b"null", b"\xff", b"[" * 10_000),
        *(b'{"run_id": 1}', b'{"run_id": "\\ud800"}'),
    ],
)
@pytest.mark.django_db
def test_malformed_callback_returns_400(body: bytes) -> None:
    assert callback.handle(body).status == 400


@pytest.mark.parametrize(
    "uri",
    [
        *("file:///elsewhere/output.json", "gs://elsewhere/output.json", "gs://bucket/\0"),
        "x" * 5000,
    ],
)
def test_callback_with_other_result_uri_ends_run_as_error(
    request_: LaunchRequest, container_run: Run, uri: str
) -> None:
    store_output(request_)

    reply = post(request_, result_uri=uri)

    container_run.refresh_from_db()
    assert (reply.status, container_run.result) == (400, "ERROR")
    assert CallbackReceipt.objects.get().status == "REJECTED"
    assert post(request_).body["idempotent_replayed"] is True


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "stored no output"),
        (b"{", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"status": "success"}', "malformed"),
        (b" " * 2000, "larger than 1,000 bytes"),
    ],
)
def test_unusable_output_ends_run_as_error(
    request_: LaunchRequest,
    container_run: Run,
    settings: Settings,
    content: bytes | None,
    words: str,
) -> None:
    settings.MAX_ENVELOPE_BYTES = 1000 if content and len(content) == 2000 else 25_000_000
    if content is not None:
        store_output(request_, content)

    reply = post(request_)

    container_run.refresh_from_db()
    assert (reply.status, container_run.result) == (400, "ERROR")
    assert words in container_run.error
    assert Attempt.objects.get().state == "FAILED"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execution_attempt_id", "00000000-0000-4000-8000-000000000000"),
        ("run_id", "00000000-0000-4000-8000-000000000000"),
        ("input_envelope_sha256", "0" * 64),
        ("output_uri", "gs://elsewhere/output.json"),
    ],
)
def test_output_of_another_attempt_is_refused(
    request_: LaunchRequest, container_run: Run, field: str, value: str
) -> None:
    store_output(request_, None, **{field: value})

    post(request_)

    container_run.refresh_from_db()
    assert field in container_run.error


@pytest.mark.parametrize("error", [StorageError, EngineBusy])
def test_callback_is_repeated_in_an_outage(
    request_: LaunchRequest, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(self: FileStorage, uri: str, *, version: str = "", limit: int) -> bytes:
        raise error("out of order")

    store_output(request_)
    message = callback_of(request_)
    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "read", fail)
        assert callback.process(message) == callback.CallbackReply(
            503, {"message": "The output cannot be read now.", "retry": True}
        )

    assert callback.process(message).status == 200
    assert Run.objects.get().result == "PASS"


def test_callback_during_processing_returns_409(request_: LaunchRequest) -> None:
    attempt = Attempt.objects.get()
    receipt = CallbackReceipt.objects.create(
        callback_id=attempt.callback_id,
        run_id=attempt.step_run.run_id,
        attempt=attempt,
        result_uri=attempt.output_uri,
        claim_token=attempt.pk,
        claimed_at=timezone.now(),
    )
    store_output(request_)

    assert post(request_) == callback.CallbackReply(
        409, {"message": "This callback is being processed.", "retry": True}
    )

    long_ago = timezone.now() - dt.timedelta(minutes=5)
    CallbackReceipt.objects.filter(pk=receipt.pk).update(claimed_at=long_ago)
    assert post(request_).status == 200


def test_output_that_fits_no_column_ends_run_as_error(
    request_: LaunchRequest, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {"severity": "ERROR", "code": "x" * 500, "text": "Bad"}
    store_output(request_, status="failed_validation", messages=[message])
    monkeypatch.setattr("validibot.runs.verdict._MAX_CODE", 500)

    assert post(request_).status == 400

    container_run.refresh_from_db()
    assert (container_run.result, container_run.findings.count()) == ("ERROR", 0)


def test_crash_on_output_ends_run_as_system_error(
    request_: LaunchRequest, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    store_output(request_)
    monkeypatch.setattr("validibot.runs.outcome.verdict_of", stumble)

    post(request_)

    container_run.refresh_from_db()
    assert (container_run.result, container_run.error_category) == ("ERROR", "SYSTEM_ERROR")
