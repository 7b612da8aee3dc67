"""Container steps on a Docker engine: own and foreign images, and their removal."""

from wsgiref.simple_server import WSGIServer

import pytest
from docker import DockerClient

from tests.docker.product import DockerDeployment, bundle, deployment, finished, program, worker
from tests.factories import OrganisationFactory, ValidatorFactory
from tests.waiting import until
from validibot.runs.backends.docker.watch import Watch
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, Run, RunEvent
from validibot.runs.reconcile import look
from validibot.runs.sweep import run_sweep
from validibot.workflows.validator_secrets import SecretSource, set_secrets

__all__ = ["deployment", "program", "worker"]

pytestmark = pytest.mark.django_db(transaction=True)


def heard_from(run: Run) -> list[str]:
    events = RunEvent.objects.filter(run=run, kind__in=("called_back", "output_found"))
    return list(events.values_list("actor", flat=True))


def test_foreign_container_calls_back_over_bridge(
    deployment: DockerDeployment, worker: WSGIServer, standin_image: str
) -> None:
    deployment.configure(network="callback", environ={"STANDIN_KIND": "fmu"})

    run = finished(deployment.run(standin_image))

    assert (run.result, run.error) == ("PASS", "")
    assert heard_from(run) == ["validator"]
    until(lambda: deployment.containers() == [])


def test_custom_validator_gets_its_secret_and_no_network(
    deployment: DockerDeployment, standin_image: str
) -> None:
    """The image answers FMUs by a secret; the end of its container replaces the callback."""
    deployment.configure(network="callback")
    secret = {"name": "STANDIN_KIND", "title": "", "description": ""}
    validator = ValidatorFactory.create(
        container=True,
        image=standin_image,
        memory_mb=128,
        organisation=OrganisationFactory.create(),
        network="none",
        secrets=[secret],
    )
    set_secrets(validator, {"STANDIN_KIND": "fmu"}, source=SecretSource.DATABASE)

    run = finished(deployment.run_of(validator))

    assert run.result == "PASS"
    assert heard_from(run) == ["reconcile"]
    access = {"network": "none", "secrets": {"STANDIN_KIND": "value 1"}}
    assert Attempt.objects.get().access == access


def test_executed_image_is_recorded(
    deployment: DockerDeployment, engine: DockerClient, standin_image: str
) -> None:
    deployment.configure(environ={"STANDIN_KIND": "fmu"})

    finished(deployment.run(standin_image))

    attempt = Attempt.objects.get()
    assert attempt.image == standin_image
    assert attempt.image_digest == engine.images.get(standin_image).id


@pytest.mark.parametrize(
    ("behaviour", "result", "error"),
    [
        ("failed_validation", "FAIL", ""),
        ("failed_runtime", "ERROR", "The tool found a problem."),
        ("explode", "ERROR", "The validator failed."),
        ("silent", "PASS", ""),
        ("vanish", "ERROR", "The validator stored no output. It ended with exit code 0."),
        ("die", "ERROR", "The validator stored no output. It was ended by SIGKILL."),
    ],
)
def test_misbehaving_container_ends_run_once(
    deployment: DockerDeployment, standin_image: str, behaviour: str, result: str, error: str
) -> None:
    deployment.configure(environ={"STANDIN_KIND": "fmu", "STANDIN": behaviour})

    run = finished(deployment.run(standin_image))

    assert (run.result, run.error) == (result, error)
    assert heard_from(run) == ([] if "stored no output" in error else ["reconcile"])


def test_container_reaches_host_of_worker_only(
    deployment: DockerDeployment, worker: WSGIServer, program: str
) -> None:
    source = f"""
import os, pathlib, socket
def reaches(host, port):
    try:
        seconds = 60 if port == {worker.server_port} else 3
        socket.create_connection((host, port), seconds).close()
        return True
    except OSError:
        return False
folder = pathlib.Path(os.environ["VALIDIBOT_INPUT_URI"].removeprefix("file://")).parent
hosts = [("host.docker.internal", {worker.server_port}), ("1.1.1.1", 53), ("example.org", 80)]
(folder / "reached").write_text(str([reaches(*host) for host in hosts]))
"""
    deployment.program(source, options={"network": "callback"})

    assert (bundle() / "reached").read_text() == "[True, False, False]"


def test_container_sees_its_own_files_only(deployment: DockerDeployment, program: str) -> None:
    (deployment.root / "submissions").mkdir()
    (deployment.root / "submissions" / "of-others").write_text("secret")
    source = """
import os, pathlib
folder = pathlib.Path(os.environ["VALIDIBOT_INPUT_URI"].removeprefix("file://")).parent
root = folder.parents[5]
seen = sorted(str(path.relative_to(folder)) for path in root.rglob("*") if path.is_file())
def writes(path):
    try:
        path.open("a").close()
        return True
    except OSError:
        return False
places = [folder / "input.json", folder / "inputs/fmu_model.fmu", folder / "new", pathlib.Path("/new")]
(folder / "seen").write_text(f"{seen} {[writes(place) for place in places]} {os.getuid() > 0}")
"""
    deployment.program(source)

    own = ["input.json", "inputs/fmu_model.fmu"]
    assert (bundle() / "seen").read_text() == f"{own} {[False, False, True, False]} True"


def test_worker_without_root_runs_image_of_other_user(
    deployment: DockerDeployment, standin_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    deployment.configure(environ={"STANDIN_KIND": "fmu"})

    assert finished(deployment.run(standin_image)).result == "PASS"


def test_container_log_is_copied_into_worker_log(
    deployment: DockerDeployment, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "validibot.runs.backends.docker.watch"):
        deployment.program("print('hello from inside')")

    assert "validator: hello from inside" in caplog.messages


def test_cancelled_run_stops_its_container(
    deployment: DockerDeployment, standin_image: str
) -> None:
    deployment.configure(environ={"STANDIN_KIND": "fmu", "STANDIN": "hang"})
    run = deployment.run(standin_image)
    assert len(deployment.containers()) == 1

    cancel_run(run.pk, actor="ada@example.org")

    until(lambda: deployment.containers() == [])
    assert finished(run).result == "CANCELED"


@pytest.fixture
def _unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate the death of the launching process."""
    monkeypatch.setattr(Watch, "start", lambda self: None)


@pytest.mark.usefixtures("_unwatched")
def test_reconcile_finds_end_after_launcher_died(
    deployment: DockerDeployment, standin_image: str
) -> None:
    deployment.configure(environ={"STANDIN_KIND": "fmu"})
    run = deployment.run(standin_image)

    until(lambda: not look(Attempt.objects.get().pk))

    run.refresh_from_db()
    assert run.result == "PASS"
    run_sweep()
    assert deployment.containers() == []


@pytest.mark.usefixtures("_unwatched")
def test_unanswered_launch_is_found_by_its_input(
    deployment: DockerDeployment, standin_image: str
) -> None:
    deployment.configure(environ={"STANDIN_KIND": "fmu", "STANDIN": "hang"})
    run = deployment.run(standin_image)
    Attempt.objects.update(state="UNKNOWN", execution="")

    assert look(Attempt.objects.get().pk)

    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.execution) == ("RUNNING", f"attempt-{attempt.pk}")
    cancel_run(run.pk, actor="ada@example.org")
    run_sweep()


@pytest.mark.usefixtures("_unwatched")
def test_sweep_removes_ended_containers_of_owner_only(
    deployment: DockerDeployment, standin_image: str
) -> None:
    deployment.configure(environ={"STANDIN_KIND": "fmu", "STANDIN": "hang"})
    over, active = deployment.run(standin_image), deployment.run(standin_image)
    Run.objects.filter(pk=over.pk).update(status="CANCELED")
    Attempt.objects.filter(step_run__run=over).update(state="CANCELED")
    foreign = deployment.client.containers.create(
        standin_image,
        labels={"io.validibot.managed": "true", "io.validibot.owner": "test-somebody-else"},
    )

    run_sweep()

    foreign.reload()  # is still there
    foreign.remove()
    kept = Attempt.objects.get(step_run__run=active)
    assert deployment.containers() == [f"attempt-{kept.pk}.{deployment.owner}"]
    cancel_run(active.pk, actor="ada@example.org")
    run_sweep()
