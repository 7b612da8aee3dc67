"""What every execution backend promises, with the real FMU validator behind it."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from devenv.gcp.config import CloudConfig
from tests import engine as engines
from tests.cloud import ROOT, ActAs
from tests.emulator.target import working
from tests.factories import StepFactory, ValidatorFactory, started_run
from tests.waiting import until
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
def _subprocess(settings: Settings, tmp_path: Path) -> None:
    options = {"validators_dir": str(ROOT / "validators")}
    _settings(settings, "subprocess.SubprocessBackend", tmp_path.as_uri(), options)


_CACHED = (
    storages._open,
    capability.own_credentials,
    capability._account,
    cloud_run.jobs,
    cloud_run.executions,
)


@pytest.fixture
def _cloud_run(settings: Settings, config: CloudConfig, act_as: ActAs) -> Iterator[None]:
    act_as("worker")
    options = {"project": "validibot-local", "region": "us-west1"}
    _settings(settings, "cloud_run.CloudRunBackend", "gs://validibot-local", options)
    settings.WORKER_URL = "https://validibot-worker-123456789012.us-west1.run.app"
    for cached in _CACHED:
        cached.cache_clear()
    [service] = [each for each in config.services if each.name == "validibot-worker"]
    with working(service.port):  # which loses callbacks: outputs are found by looking
        yield
    for client in (cloud_run.jobs(), cloud_run.executions()):
        client.transport.close()  # type: ignore[no-untyped-call]
    for cached in _CACHED:
        cached.cache_clear()


@pytest.fixture
def _docker(settings: Settings, tmp_path: Path) -> Iterator[None]:
    engines.connect().close()
    engines.build_validators("fmu")
    owner = f"contract-{uuid4().hex[:12]}"
    options = {"owner": owner, "network": "none"}
    _settings(settings, "docker.DockerBackend", tmp_path.as_uri(), options)
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("attempt-"):
            thread.join(20)
    docker.engine(owner).clear()
    docker.engine(owner).close()
    docker.engine.cache_clear()


DOCKER = pytest.param("_docker", marks=[pytest.mark.docker, pytest.mark.timeout(180)])


@pytest.fixture(params=["_mock", "_subprocess", "_cloud_run", DOCKER])
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


def test_a_good_model_passes(backend: str) -> None:
    run = fmu_run("decay.fmu")

    execute(run.pk)

    assert (finished(run).result, run.error) == ("PASS", "")
    attempt = Attempt.objects.get()
    assert attempt.state == "COMPLETED"
    has_image = backend in ("_cloud_run", "_docker")
    assert attempt.image_digest.startswith("sha256:") == has_image


@pytest.mark.parametrize("sample", ["failing.fmu", "crashing.fmu"])
def test_a_bad_model_fails_with_findings(backend: str, sample: str) -> None:
    run = fmu_run(sample)

    execute(run.pk)

    assert (finished(run).result, run.error) == ("FAIL", "")
    assert run.findings.filter(severity="ERROR").exists()


@pytest.mark.parametrize("kind", ["_subprocess", DOCKER])
def test_the_end_of_an_execution_is_noticed_without_looking(
    request: pytest.FixtureRequest, kind: str
) -> None:
    request.getfixturevalue(kind)
    run = fmu_run("decay.fmu")

    execute(run.pk)

    until(lambda: Run.objects.get(pk=run.pk).state == "COMPLETED")
    run.refresh_from_db()
    assert run.result == "PASS"


@pytest.mark.usefixtures("_cloud_run")
def test_an_execution_is_found_by_its_input() -> None:
    run = fmu_run("decay.fmu")
    execute(run.pk)
    attempt = Attempt.objects.get()

    found = get_backend().find(job="validibot-validator-fmu", input_uri=attempt.input_uri)
    other = get_backend().find(job="validibot-validator-fmu", input_uri="gs://x/y")

    assert found.execution == attempt.execution
    assert other.phase is Phase.ABSENT
    finished(run)


@pytest.mark.parametrize("kind", ["_subprocess", "_cloud_run", DOCKER])
def test_an_execution_is_cancelled(request: pytest.FixtureRequest, kind: str) -> None:
    request.getfixturevalue(kind)
    run = fmu_run("decay.fmu")
    execute(run.pk)
    execution = Attempt.objects.get().execution

    get_backend().cancel(execution)

    until(lambda: get_backend().state(execution).phase in ENDED)
    assert not get_backend().cancel(execution)
    finished(run)


@pytest.mark.usefixtures("_cloud_run")
def test_a_job_that_is_not_there_is_a_permanent_error() -> None:
    run = fmu_run("decay.fmu")
    execute(run.pk)
    request = request_like(run, job="no-such-job")

    with pytest.raises(LaunchError, match="no-such-job") as raised:
        get_backend().launch(request)

    assert raised.value.permanent
    finished(run)


def request_like(run: Run, *, job: str) -> LaunchRequest:
    attempt = Attempt.objects.get()
    return LaunchRequest(
        run_id=run.pk,
        attempt_id=attempt.pk,
        job=job,
        image=attempt.image,
        command=["python"],
        input_uri=attempt.input_uri,
        output_uri=attempt.output_uri,
        capability_url="https://worker.example/",
        timeout_seconds=1,
        memory_mb=1,
    )


@pytest.mark.usefixtures("_cloud_run")
def test_who_may_not_launch_is_told_so_for_good(act_as: ActAs) -> None:
    act_as("web")
    run = fmu_run("decay.fmu")

    execute(run.pk)

    run.refresh_from_db()
    assert run.result == "ERROR"
    assert "run.jobs.run" in run.error
