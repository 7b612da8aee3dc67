"""Hostile and unlucky container steps: each run ends in the right state, with a sentence, and leaves nothing."""

import subprocess
from pathlib import Path

import pytest
from docker.errors import DockerException

from tests.docker.product import PROGRAM, Deployment, deployment, finished, program
from tests.waiting import until
from validibot.runs import reconcile
from validibot.runs.backends.docker import backend as docker_backend, watch
from validibot.runs.models import Attempt, RunEvent
from validibot.runs.reconcile import look

__all__ = ["deployment", "program"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("program"),
]
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    time.sleep(1)
"""


def test_an_image_that_is_not_there_is_named_with_the_command_that_makes_it(
    deployment: Deployment,
) -> None:
    run = finished(deployment.run("validibot/no-such-validator:1"))

    assert run.result == "ERROR"
    assert run.error.startswith("The validator could not be started: The engine has no image")
    assert "validibot/no-such-validator:1" in run.error
    assert "make validators" in run.error


def test_an_image_for_another_processor_is_refused_by_name(
    deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nENTRYPOINT ["/nothing"]\n')
    image = f"{deployment.owner}:arm"
    command = ["docker", "buildx", "build", "--quiet", "--platform", "linux/arm64", "--tag", image]
    subprocess.run([*command, str(tmp_path)], check=True, capture_output=True)

    run = finished(deployment.run(image))

    deployment.client.images.remove(image)
    assert run.result == "ERROR"
    assert "is for linux/arm64, this engine runs linux/" in run.error


def test_a_program_that_is_not_in_its_image_is_an_error(
    deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nENTRYPOINT ["/nothing"]\n')
    image = f"{deployment.owner}:empty"
    deployment.client.images.build(path=str(tmp_path), tag=image, rm=True)

    run = finished(deployment.run(image))

    until(lambda: deployment.containers() == [])
    deployment.client.images.remove(image)
    assert run.result == "ERROR"
    assert "could not be started" in run.error or "cannot be run" in run.error


def test_memory_that_runs_out_is_named(deployment: Deployment) -> None:
    run = deployment.program("hoard = bytearray(10**9)", memory_mb=64)

    assert (run.result, run.error_category) == ("ERROR", "OOM")
    assert run.error == (
        "The validator stored no output. It used more than the 64 MB of memory that it may use."
    )


def test_memory_that_runs_out_in_a_child_is_named_too(deployment: Deployment) -> None:
    source = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray(10**9)'])"
    run = deployment.program(source, memory_mb=64)

    assert (run.result, run.error_category) == ("ERROR", "OOM")
    assert "One of its processes used more than was left of the 64 MB" in run.error


def test_a_container_that_fills_the_disk_is_stopped(deployment: Deployment) -> None:
    source = """
import os, pathlib
folder = pathlib.Path(os.environ["VALIDIBOT_INPUT_URI"].removeprefix("file://")).parent
with (folder / "big").open("wb") as file:
    for _ in range(10_000):
        file.write(bytes(2**20))
"""
    run = deployment.program(source, options={"output_mb": 50})

    assert run.result == "ERROR"
    assert run.error == (
        "The validator stored no output. It wrote more than the 50 MB that it may write."
    )
    bundle = Path(Attempt.objects.get().bundle_uri.removeprefix("file://"))
    assert (bundle / "big").stat().st_size < 4 * 2**30
    (bundle / "big").unlink()


def test_a_fork_bomb_ends_with_its_container(deployment: Deployment) -> None:
    source = """
import os, sys, time
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
except OSError:
    sys.exit(7)
"""
    run = deployment.program(source)

    assert run.error == "The validator stored no output. It ended with exit code 7."


def test_a_log_without_end_is_cut_off_and_the_run_ends(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", watch.__name__):
        run = deployment.program("for _ in range(500_000): print('x' * 100)", seconds=100)

    assert run.error == "The validator stored no output. It ended with exit code 0."
    said = [line for line in caplog.messages if line.startswith("validator: ")]
    assert "the rest is omitted" in said[-1]
    assert sum(map(len, said)) < 2 * watch.MAX_LOG_BYTES


def test_a_container_that_ignores_sigterm_is_killed_when_its_time_is_over(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(docker_backend, "GRACE_SECONDS", 1.0)

    run = deployment.program(_STUBBORN, timeout_seconds=2)

    assert (run.result, run.error) == (
        "TIMED_OUT",
        "The validator did not answer within its 2 seconds.",
    )
    assert Attempt.objects.get().state == "TIMED_OUT"
    until(lambda: deployment.containers() == [])


def test_a_container_that_somebody_removes_is_an_error_at_once(deployment: Deployment) -> None:
    deployment.configure(environ={"PROGRAM": _STUBBORN})
    run = deployment.run(PROGRAM)

    [name] = deployment.containers()
    deployment.client.containers.get(name).remove(force=True)

    assert finished(run).result == "ERROR"
    assert "Its container" in run.error
    assert "Launch" in run.error


def stop_engine(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers any more, until the patch is undone."""

    def nobody() -> None:
        raise DockerException("Connection refused")

    deployment.engine.close()
    monkeypatch.setattr(deployment.engine._client, "_connect", nobody)


def test_an_engine_that_does_not_answer_is_waited_for(
    deployment: Deployment, standin_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch without an answer is looked for; once it is sure that there is none, it is repeated."""
    deployment.configure(environ={"STANDIN_KIND": "fmu"})
    stop_engine(deployment, monkeypatch)
    run = deployment.run(standin_image)
    attempt = Attempt.objects.get()
    assert attempt.state == "UNKNOWN"
    assert "start Docker and look at `docker info`" in attempt.error
    assert look(attempt.pk)

    monkeypatch.undo()
    monkeypatch.setattr(reconcile, "ABSENCE_GRACE", reconcile.ABSENCE_GRACE * 0)
    assert not look(attempt.pk)

    assert finished(run).result == "PASS"
    assert RunEvent.objects.filter(run=run, kind="launch_failed").count() == 1


def test_an_engine_that_never_comes_back_ends_the_run_with_what_to_do(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_engine(deployment, monkeypatch)
    run = deployment.run(PROGRAM)

    look(Attempt.objects.get().pk, overdue=True)

    run.refresh_from_db()
    assert run.result == "TIMED_OUT"
    assert "start Docker" in run.error
    monkeypatch.undo()
