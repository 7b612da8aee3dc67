"""Contract of every execution backend, with the real FMU validator."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
from pytest_django import Settings

from deploy.modal_app import container_function
from devenv.gcp.config import CloudConfig
from devenv.pytest_plugin import ActAs
from tests import engine as engines, stand_in_modal
from tests.cloud import ROOT
from tests.docker import product as program
from tests.emulator.target import Worker, working
from tests.factories import StepFactory, ValidatorFactory, started_run
from tests.waiting import LIMIT, until
from validators.sdk import storage as storages
from validibot.core.storage import capability
from validibot.runs.backends import cloud_run, get_backend
from validibot.runs.backends.base import ENDED, LaunchError, LaunchRequest, Phase
from validibot.runs.backends.docker import backend as docker
from validibot.runs.execute import execute
from validibot.runs.models import Attempt, Run
from validibot.runs.reconcile import look

SAMPLES = ROOT / "validators" / "fmu" / "samples"

pytestmark = pytest.mark.django_db(transaction=True)


def _settings(settings: Settings, kind: str, root: str, options: dict[str, Any]) -> None:
    settings.DATA_ROOT = root
    settings.EXECUTION_BACKENDS = {
        "default": {"BACKEND": f"validibot.runs.backends.{kind}", "OPTIONS": options}
    }


@pytest.fixture
def _mock(settings: Settings, tmp_path: Path) -> None:
    _settings(settings, "mock.MockBackend", tmp_path.as_uri(), {})


@pytest.fixture
def _subprocess(settings: Settings, tmp_path: Path) -> Iterator[None]:
    options = {"validators_dir": str(ROOT / "validators")}
    _settings(settings, "subprocess.SubprocessBackend", tmp_path.as_uri(), options)
    yield
    _join("validator-")


_CACHED = (
    storages._open,
    capability.own_credentials,
    capability._account,
    cloud_run.jobs,
    cloud_run.executions,
)


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if name in thread.name:
            thread.join(LIMIT)


@pytest.fixture
def _capabilities(settings: Settings, config: CloudConfig, act_as: ActAs) -> Iterator[Worker]:
    """The emulated cloud, and a worker that accepts callbacks and drops them: outputs must be found."""
    act_as("worker")
    settings.CAPABILITY_ACCOUNT = config.email("capability")
    settings.WORKER_URL = "https://validibot-worker-123456789012.us-west1.run.app"
    for cached in _CACHED:
        cached.cache_clear()
    [service] = [each for each in config.services if each.name == "validibot-worker"]
    clients = (cloud_run.jobs(), cloud_run.executions())
    with working(service.port) as worker:
        yield worker
    _join("_run")  # gRPC's threads that wait for a connection
    for client in clients:
        client.transport.close()  # type: ignore[no-untyped-call]
    for cached in _CACHED:
        cached.cache_clear()


@pytest.fixture
def _cloud_run(settings: Settings, _capabilities: Worker) -> None:
    options = {"project": "validibot-local", "region": "us-west1"}
    _settings(settings, "cloud_run.CloudRunBackend", "gs://validibot-local", options)


@pytest.fixture
def _modal(
    settings: Settings,
    config: CloudConfig,
    _capabilities: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Worker]:
    monkeypatch.setitem(sys.modules, "modal", stand_in_modal)
    monkeypatch.setattr(subprocess, "run", stand_in_modal.start_program)
    app = stand_in_modal.App("validators")
    sleep = ["python", "-c", "import time; time.sleep(600)"]
    fmu = ["python", "-m", "validators.fmu"]
    for job, command in (("validibot-validator-fmu", fmu), ("sleeper", sleep)):
        app.function(name=job, serialized=True)(container_function(command))
    app.deploy()
    options = {"app": "validators", "caller_account": config.email("validator-modal")}
    _settings(settings, "modal.ModalBackend", "gs://validibot-local", options)
    yield _capabilities
    stand_in_modal.server.join()
    stand_in_modal.reset()


@pytest.fixture
def _docker(settings: Settings, tmp_path: Path) -> Iterator[None]:
    engines.connect().close()
    engines.build_validators("fmu")
    owner = f"contract-{uuid4().hex[:12]}"
    options = {"owner": owner, "network": "none"}
    _settings(settings, "docker.DockerBackend", tmp_path.as_uri(), options)
    yield
    _join("attempt-")
    docker.engine(owner).clear()
    docker.engine(owner).close()
    docker.engine.cache_clear()


DOCKER = pytest.param("_docker", marks=pytest.mark.docker)


@pytest.fixture(params=["_mock", "_subprocess", "_cloud_run", "_modal", DOCKER])
def backend(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(request.param)
    return str(request.param)


def fmu_run(sample: str) -> Run:
    content = (SAMPLES / sample).read_bytes()
    step = StepFactory.create(
        validator=ValidatorFactory.create(container=True, memory_mb=1024, timeout_seconds=60),
        config={"simulation": {"stop_time": 1.0}},
    )
    return started_run(
        step=step,
        filename=sample,
        mime_type="application/vnd.fmi.fmu",
        inline=content,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def finished(run: Run) -> Run:
    """Look until the run has ended."""

    def ended() -> bool:
        for attempt in Attempt.objects.filter(step_run__run=run):
            look(attempt.pk)
        run.refresh_from_db()
        return run.state == "COMPLETED"

    until(ended, every=0.2, progress=lambda: run.status)
    return run


def test_passing_model_ends_run_with_pass(backend: str) -> None:
    run = fmu_run("decay.fmu")

    execute(run.pk)

    assert (finished(run).result, run.error) == ("PASS", "")
    attempt = Attempt.objects.get()
    assert attempt.state == "COMPLETED"
    has_image = backend in ("_cloud_run", "_docker")
    assert attempt.image_digest.startswith("sha256:") == has_image


def test_failing_model_ends_run_with_findings(backend: str) -> None:
    run = fmu_run("failing.fmu")

    execute(run.pk)

    assert (finished(run).result, run.error) == ("FAIL", "")
    assert run.findings.filter(severity="ERROR").exists()


@pytest.mark.parametrize("kind", ["_subprocess", DOCKER])
def test_watched_execution_ends_run_without_reconcile(
    request: pytest.FixtureRequest, kind: str
) -> None:
    request.getfixturevalue(kind)
    run = fmu_run("decay.fmu")

    execute(run.pk)

    until(lambda: Run.objects.get(pk=run.pk).state == "COMPLETED")
    run.refresh_from_db()
    assert run.result == "PASS"


@pytest.mark.usefixtures("_cloud_run")
def test_cloud_run_finds_execution_by_input() -> None:
    run = fmu_run("decay.fmu")
    execute(run.pk)
    attempt = Attempt.objects.get()

    found = get_backend().find(job="validibot-validator-fmu", input_uri=attempt.input_uri)
    other = get_backend().find(
        job="validibot-validator-fmu", input_uri=f"gs://validibot-local/runs/{uuid4()}/input.json"
    )

    assert found.execution == attempt.execution
    assert other.phase is Phase.ABSENT
    get_backend().cancel(attempt.execution)
    finished(run)


@pytest.mark.parametrize("kind", ["_subprocess", "_cloud_run", "_modal", DOCKER])
def test_cancelled_execution_ends(request: pytest.FixtureRequest, kind: str) -> None:
    request.getfixturevalue(kind)
    run = fmu_run("decay.fmu")
    execute(run.pk)
    execution = Attempt.objects.get().execution

    get_backend().cancel(execution)

    until(lambda: get_backend().state(execution).phase in ENDED)
    assert not get_backend().cancel(execution)
    finished(run)


def slow_run(kind: str, settings: Settings, *, timeout_seconds: int) -> Run:
    """Return a run whose validator takes longer than its time."""
    options = settings.EXECUTION_BACKENDS["default"]["OPTIONS"]
    sleep = "import time; time.sleep(600)"
    if kind == "_docker":
        engines.connect().images.build(fileobj=BytesIO(program.DOCKERFILE), tag=program.PROGRAM)
        options["environ"] = {"PROGRAM": sleep}
    validator = ValidatorFactory.create(
        container=True,
        command=["python", "-c", sleep],
        job="sleeper",
        image=program.PROGRAM if kind == "_docker" else "sleeper:1",
        timeout_seconds=timeout_seconds,
        memory_mb=128,
    )
    step = StepFactory.create(validator=validator, config={}, scenario="timeout(0)")
    return started_run(step=step, filename="model.fmu", inline=b"PK")


def test_validator_beyond_its_time_ends_run_timed_out(backend: str, settings: Settings) -> None:
    run = slow_run(backend, settings, timeout_seconds=2)

    execute(run.pk)

    assert finished(run).result == "TIMED_OUT"
    assert run.error == "The validator did not answer within its 2 seconds."
    assert Attempt.objects.get().state == "TIMED_OUT"


def test_validator_at_modal_calls_worker_with_id_token(request: pytest.FixtureRequest) -> None:
    worker: Worker = request.getfixturevalue("_modal")
    run = fmu_run("decay.fmu")

    execute(run.pk)

    # A job of an earlier test may still call back at this port.
    while str(run.pk).encode() not in (arrival := worker.next(seconds=90)).body:
        pass
    attempt = Attempt.objects.get()
    found = get_backend().find(job="validibot-validator-fmu", input_uri=attempt.input_uri)
    assert found.execution == attempt.execution
    finished(run)
    claims = jwt.decode(
        arrival.headers["authorization"].removeprefix("Bearer "),
        options={"verify_signature": False},
    )
    assert arrival.path == "/internal/callbacks/"
    assert claims["email"].startswith("validator-modal@")


@pytest.mark.usefixtures("_subprocess")
def test_missing_program_is_certainly_not_accepted() -> None:
    with pytest.raises(LaunchError) as raised:
        get_backend().launch(any_request(command=["/no/such/program"]))

    assert raised.value.not_accepted


@pytest.mark.usefixtures("_mock")
def test_missing_envelope_is_certainly_not_accepted_by_mock() -> None:
    with pytest.raises(LaunchError) as raised:
        get_backend().launch(any_request(input_uri="file:///no/such/input.json"))

    assert raised.value.not_accepted


@pytest.mark.usefixtures("_cloud_run")
def test_launch_without_token_is_certainly_not_accepted(act_as: ActAs) -> None:
    act_as("scheduler")  # may not impersonate the capability account

    with pytest.raises(
        LaunchError, match="may not make tokens of the CAPABILITY_ACCOUNT"
    ) as raised:
        get_backend().launch(any_request(input_uri="gs://validibot-local/runs/1/input.json"))

    assert (raised.value.not_accepted, raised.value.permanent) == (True, True)


@pytest.mark.usefixtures("_cloud_run")
def test_launch_without_tls_is_certainly_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts connections and never answers: not even the handshake ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        channel = grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials())
        client = SimpleNamespace(transport=SimpleNamespace(grpc_channel=channel, host="the host"))
        monkeypatch.setattr(cloud_run, "jobs", lambda: client)

        with pytest.raises(LaunchError, match="no connection to the host within 5 s") as raised:
            get_backend().launch(any_request(input_uri="gs://validibot-local/runs/1/input.json"))

        _join("_run")
        channel.close()
    assert raised.value.not_accepted


def any_request(**changes: Any) -> LaunchRequest:
    """Return a request of an attempt that nobody stored."""
    facts: dict[str, Any] = {
        "run_id": uuid4(),
        "attempt_id": uuid4(),
        "job": "validibot-validator-fmu",
        "image": "validibot/validator-fmu:0.1.0",
        "command": ["python", "-m", "validators.fmu"],
        "input_uri": "file:///nowhere/input.json",
        "output_uri": "file:///nowhere/output.json",
        "capability_url": "https://worker.example/",
        "timeout_seconds": 1,
        "memory_mb": 64,
    }
    return LaunchRequest(**facts | changes)


@pytest.mark.parametrize("kind", ["_cloud_run", "_modal"])
def test_missing_job_is_a_permanent_launch_error(request: pytest.FixtureRequest, kind: str) -> None:
    request.getfixturevalue(kind)
    asked = any_request(job="no-such-job", input_uri="gs://validibot-local/runs/1/input.json")

    with pytest.raises(LaunchError, match="no-such-job") as raised:
        get_backend().launch(asked)

    assert raised.value.permanent
    assert raised.value.not_accepted


@pytest.mark.usefixtures("_cloud_run")
def test_missing_permission_ends_run_with_error(act_as: ActAs) -> None:
    act_as("launcher")
    run = fmu_run("decay.fmu")

    execute(run.pk)

    run.refresh_from_db()
    assert run.result == "ERROR"
    assert "run.jobs.run" in run.error
