"""Job containers across kills and restarts of the emulated cloud: none lost, none left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.errors import NotFound

from containers import ContainerEngine
from devenv.gcp.run_jobs.runtimes.docker import engine_of
from tests import engine as engines
from tests.cloud import ROOT
from tests.emulator.test_process import wait_for
from tests.waiting import until

JOB = "/v2/projects/local-project/locations/us-west1/jobs/tool"
TOML = """
[gcp]
iam = "off"
accounts = ["runner"]
[[gcp.jobs]]
name = "tool"
image = "python:3.13-slim-trixie"
account = "runner"
max_retries = 0
"""
# Exits with 0 on SIGUSR1 and with 5 on SIGUSR2; ignores SIGTERM.
TOOL = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(5))
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("here", flush=True)
while True:
    time.sleep(1)
"""


class Stack:
    """A folder with an emulated cloud, which can be killed and started again."""

    def __init__(self, folder: Path, api: docker.APIClient, engine: ContainerEngine) -> None:
        self.folder = folder
        self.api = api
        self.engine = engine
        (folder / "devenv.toml").write_text(TOML)

    @contextmanager
    def running(self) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        process = start(self.folder, "--jobs", "docker")
        try:
            yield process, wait_for(self.folder / "data" / "endpoints.json", process.pid)["plain"]
        finally:
            process.kill()
            process.wait()

    def containers(self) -> list[Any]:
        labels = [f"io.validibot.owner={self.engine.owner}", "io.validibot.name"]
        found: list[Any] = self.api.containers(all=True, filters={"label": labels})
        return found

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.folder / "data").glob("logs/*/*.log"))


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    api = engines.connect().api
    engine = engine_of((tmp_path / "data").resolve(), "")
    yield Stack(tmp_path, api, engine)
    engine.clear()
    engine.close()
    api.close()


def start(folder: Path, *options: str, **further: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "devenv.gcp", "--config", "devenv.toml", "--data", "data"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - for a child of this test
    environ |= further.pop("variables", {})
    return subprocess.Popen([*command, *options], cwd=folder, env=environ, **further)


def refusal(folder: Path, *options: str, **variables: str) -> str:
    """Start an emulated cloud with invalid options; return its error message."""
    with start(folder, *options, variables=variables, stderr=subprocess.PIPE) as process:
        _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    return said.decode()


def ask(method: str, url: str, body: Any = None) -> Any:
    answer = httpx.request(method, url, trust_env=False, json=body)
    return answer.raise_for_status().json()


def launch(stack: Stack, url: str) -> str:
    """Start the tool; return its execution's URL once it runs."""
    job = ask("GET", f"{url}{JOB}")
    job["template"]["template"]["containers"][0] |= {"command": ["python3", "-c"], "args": [TOOL]}
    ask("PATCH", f"{url}{JOB}", job)
    name = ask("POST", f"{url}{JOB}:run", {})["metadata"]["name"]
    until(lambda: "here" in stack.log())
    return f"/v2/{name}"


def message_of(execution: Any) -> str:
    (said,) = (each["message"] for each in execution["conditions"] if each["type"] == "Completed")
    return str(said)


def test_container_survives_emulator_kill_and_is_observed(stack: Stack) -> None:
    with stack.running() as (process, url):
        execution = launch(stack, url)
        process.send_signal(signal.SIGKILL)
        process.wait()
    [container] = stack.containers()
    assert container["State"] == "running"

    with stack.running() as (_, url):
        assert ask("GET", url + execution)["runningCount"] == 1
        stack.api.kill(container["Id"], "USR1")
        until(lambda: ask("GET", url + execution).get("succeededCount") == 1)
        until(lambda: not stack.containers())
    assert stack.log() == "here\n"


def test_missed_exit_is_read_after_restart(stack: Stack) -> None:
    with stack.running() as (_, url):
        execution = launch(stack, url)
    [container] = stack.containers()
    stack.api.kill(container["Id"], "USR2")
    stack.api.wait(container["Id"])

    with stack.running() as (_, url):
        until(lambda: ask("GET", url + execution).get("failedCount") == 1)
        said = message_of(ask("GET", url + execution))
    assert said.endswith(
        "failed with exit code: 5 and message: The container exited with an error."
    )


def test_container_killed_during_downtime_is_internal_error(stack: Stack) -> None:
    with stack.running() as (_, url):
        execution = launch(stack, url)
    [container] = stack.containers()
    stack.api.kill(container["Id"])

    with stack.running() as (_, url):
        until(lambda: ask("GET", url + execution).get("failedCount") == 1)
        assert message_of(ask("GET", url + execution)).endswith("message: Internal error.")


def test_interrupted_cancel_completes_after_restart(stack: Stack) -> None:
    with stack.running() as (_, url):
        execution = launch(stack, url)
        ask("POST", f"{url}{execution}:cancel", {})
        until(lambda: "asked" in stack.log())
    [container] = stack.containers()
    stack.api.kill(container["Id"])

    with stack.running() as (_, url):
        until(lambda: ask("GET", url + execution).get("cancelledCount") == 1)


def test_graceful_stop_removes_containers_and_keeps_state(stack: Stack) -> None:
    mine = {"label": f"io.validibot.owner={stack.engine.owner}"}
    with stack.running() as (process, url):
        execution = launch(stack, url)
        process.terminate()
        assert process.wait(timeout=300) == 0
    assert stack.containers() == []
    assert stack.api.networks(filters=mine) == []
    assert not stack.api.volumes(filters=mine)["Volumes"]

    with stack.running() as (_, url):
        started = until(lambda: _saying_here(stack), forgive=NotFound)
        stack.api.kill(started, "USR1")
        until(lambda: ask("GET", url + execution).get("succeededCount") == 1)


def _saying_here(stack: Stack) -> str:
    """Return the id of the container whose program has begun; one that is being removed has none."""
    ids = [str(container["Id"]) for container in stack.containers()]
    return next((each for each in ids if b"here" in stack.api.logs(each)), "")


def test_missing_engine_error_names_docker_info(stack: Stack) -> None:
    said = refusal(stack.folder, "--jobs", "docker", DOCKER_HOST="unix:///nowhere.sock")

    assert "The container engine does not answer: start Docker and look at `docker info`." in said


def test_bind_to_all_addresses_needs_container_host(stack: Stack) -> None:
    everywhere = ".".join("0000")

    assert "give --container-host too" in refusal(stack.folder, "--bind", everywhere)
