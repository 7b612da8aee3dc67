"""Hostile and failing container steps: state, message and removal."""

import subprocess
from pathlib import Path

import pytest
from docker.errors import DockerException

from containers import ContainerEngine, ContainerSpec, EngineUnavailable
from tests.docker.product import PROGRAM, DockerDeployment, deployment, finished, program
from tests.waiting import until
from validibot.runs.backends.docker import backend as docker_backend, watch
from validibot.runs.execute import execute
from validibot.runs.launch import LaunchPostponed
from validibot.runs.models import Attempt, Run
from validibot.runs.reconcile import look
from validibot.runs.sweep import run_sweep

__all__ = ["deployment", "program"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("program"),
]
_IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    time.sleep(1)
"""


def test_missing_image_error_names_build_command(
    deployment: DockerDeployment,
) -> None:
    run = finished(deployment.run("validibot/no-such-validator:1"))

    assert run.result == "ERROR"
    assert run.error.startswith("The validator could not be started: The engine has no image")
    assert "validibot/no-such-validator:1" in run.error
    assert "make validators" in run.error


def test_image_for_other_platform_ends_run_with_error(
    deployment: DockerDeployment, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nENTRYPOINT ["/nothing"]\n')
    image = f"{deployment.owner}:arm"
    command = ["docker", "buildx", "build", "--quiet", "--platform", "linux/arm64", "--tag", image]
    subprocess.run([*command, str(tmp_path)], check=True, capture_output=True)

    run = finished(deployment.run(image))

    deployment.client.images.remove(image)
    assert run.result == "ERROR"
    assert "is for linux/arm64, this engine runs linux/" in run.error


def test_missing_program_in_image_ends_run_with_error(
    deployment: DockerDeployment, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nENTRYPOINT ["/nothing"]\n')
    image = f"{deployment.owner}:empty"
    deployment.client.images.build(path=str(tmp_path), tag=image, rm=True)

    run = finished(deployment.run(image))

    until(lambda: deployment.containers() == [])
    deployment.client.images.remove(image)
    assert run.result == "ERROR"
    assert "could not be started" in run.error or "cannot be run" in run.error


def test_out_of_memory_is_reported_with_limit(deployment: DockerDeployment) -> None:
    run = deployment.program("hoard = bytearray(10**9)", memory_mb=64)

    assert (run.result, run.error_category) == ("ERROR", "OOM")
    assert run.error == (
        "The validator stored no output. It used more than the 64 MB of memory that it may use."
    )


def test_out_of_memory_of_child_is_reported(deployment: DockerDeployment) -> None:
    source = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray(10**9)'])"
    run = deployment.program(source, memory_mb=64)

    assert (run.result, run.error_category) == ("ERROR", "OOM")
    assert "One of its processes used more than was left of the 64 MB" in run.error


def test_container_beyond_output_limit_is_killed(deployment: DockerDeployment) -> None:
    source = """
import os, pathlib, time
folder = pathlib.Path(os.environ["VALIDIBOT_INPUT_URI"].removeprefix("file://")).parent
with (folder / "big").open("wb") as file:
    for _ in range(10_000):
        file.write(bytes(2**20))
        time.sleep(0.002)  # so that a busy machine stops it in time
"""
    run = deployment.program(source, options={"output_mb": 50})

    assert run.result == "ERROR"
    assert run.error == (
        "The validator stored no output. It wrote more than the 50 MB that it may write."
    )
    bundle = Path(Attempt.objects.get().bundle_uri.removeprefix("file://"))
    assert (bundle / "big").stat().st_size < 4 * 2**30
    (bundle / "big").unlink()


def test_fork_bomb_ends_with_its_container(deployment: DockerDeployment) -> None:
    source = """
import os, sys, time
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
except OSError:
    sys.exit(7)
"""
    run = deployment.program(source)

    assert run.error == "The validator stored no output. It ended with exit code 7."


def test_endless_log_is_cut_off(
    deployment: DockerDeployment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", watch.__name__):
        run = deployment.program("for _ in range(500_000): print('x' * 100)", seconds=100)

    assert run.error == "The validator stored no output. It ended with exit code 0."
    said = [line for line in caplog.messages if line.startswith("validator: ")]
    assert "the rest is omitted" in said[-1]
    assert sum(map(len, said)) < 2 * watch.MAX_LOG_BYTES


def test_container_ignoring_sigterm_is_killed_after_timeout(
    deployment: DockerDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(docker_backend, "GRACE_SECONDS", 1.0)

    run = deployment.program(_IGNORES_SIGTERM, timeout_seconds=2)

    assert (run.result, run.error) == (
        "TIMED_OUT",
        "The validator did not answer within its 2 seconds.",
    )
    assert Attempt.objects.get().state == "TIMED_OUT"
    until(lambda: deployment.containers() == [])


def test_removed_container_ends_run_with_error(deployment: DockerDeployment) -> None:
    deployment.configure(environ={"PROGRAM": _IGNORES_SIGTERM})
    run = deployment.run(PROGRAM)

    [name] = deployment.containers()
    deployment.client.containers.get(name).remove(force=True)

    assert finished(run).result == "ERROR"
    assert "Its container" in run.error
    assert "Launch" in run.error


def stop_engine(deployment: DockerDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the engine unreachable until the patch is undone."""

    def refuse() -> None:
        raise DockerException("Connection refused")

    deployment.engine.close()
    monkeypatch.setattr(deployment.engine._client, "_connect", refuse)


def test_launch_is_repeated_when_engine_answers_again(
    deployment: DockerDeployment, standin_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No engine has accepted the launch, so nothing is left of it but the queue's retry."""
    deployment.configure(environ={"STANDIN_KIND": "fmu"})
    stop_engine(deployment, monkeypatch)
    with pytest.raises(LaunchPostponed, match="start Docker and look at `docker info`"):
        deployment.run(standin_image)
    assert not Attempt.objects.exists()

    monkeypatch.undo()
    run = Run.objects.get()
    execute(run.pk)

    assert finished(run).result == "PASS"


def test_launch_with_lost_answer_is_found_by_reconcile(
    deployment: DockerDeployment, standin_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine started the container and failed to answer: the launch is not repeated."""
    deployment.configure(environ={"STANDIN_KIND": "fmu"})
    start = ContainerEngine.start

    def start_and_fail(engine: ContainerEngine, spec: ContainerSpec) -> None:
        start(engine, spec)
        raise EngineUnavailable("The answer was lost.")

    monkeypatch.setattr(ContainerEngine, "start", start_and_fail)
    run = deployment.run(standin_image)
    assert Attempt.objects.get().state == "UNKNOWN"

    until(lambda: not look(Attempt.objects.get().pk))

    run.refresh_from_db()
    assert run.result == "PASS"
    assert Attempt.objects.count() == 1
    run_sweep()
