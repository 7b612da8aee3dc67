"""Kills of each service while a run is in flight: the run ends once, with the right result."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from tests.flows import engines
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

SLUG = "energyplus-small-office"
ENDS = ("passed", "failed", "error", "timed_out", "canceled")


def _launch(stack: Stack) -> str:
    sample = stack.sample(SLUG)
    answer = stack.launch(SLUG, sample.read_bytes(), sample.name)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def _reached(stack: Stack, run: str, kind: str) -> None:
    stack.until(lambda: kind in stack.events(run))


def _execution(stack: Stack, run: str) -> str:
    _reached(stack, run, "running")
    return stack.told(run, "running", "execution").rpartition("/")[2]


def _kill_service(stack: Stack, name: str) -> None:
    if stack.servers and name == "postgres":
        stack.servers.kill_postgres()
        return
    pid = stack.status()["services"][name]["pid"]
    os.kill(pid, signal.SIGKILL)
    stack.until_restarted(name, not_pid=pid)


def _ended_once(stack: Stack, run: str) -> dict[str, object]:
    document = stack.finished(run)
    time.sleep(1.5)  # late messages arrive now and must change nothing
    assert stack.get_run(run) == document
    kinds = stack.events(run)
    assert sum(kind in ENDS for kind in kinds) == 1
    issues = [str(issue) for step in document["steps"] for issue in step["issues"]]
    assert len(issues) == len(set(issues))
    return document


@pytest.mark.parametrize("service", ["worker", "gcp", "postgres", "web"])
def test_no_run_is_lost_if_service_is_killed(stack: Stack, service: str) -> None:
    """Kill a service while it takes runs, others are queued, and a validator runs."""
    simulation = _launch(stack)
    _reached(stack, simulation, "launched")
    content = stack.sample("meter-readings-schema").read_bytes()
    accepted = []

    def burst() -> None:
        for _ in range(3):
            with suppress(httpx.TransportError):  # web was killed
                answer = stack.launch("meter-readings-schema", content, "a.json", Prefer="wait=0")
                if answer.is_success:
                    accepted.append(str(answer.json()["id"]))

    threads = [threading.Thread(target=burst) for _ in range(4)]
    for thread in threads:
        thread.start()
    stack.until(lambda: len(accepted) > 3)
    _kill_service(stack, service)
    for thread in threads:
        thread.join()

    for run in accepted:
        assert stack.finished(run)["result"] == "PASS"
        assert sum(kind in ENDS for kind in stack.events(run)) == 1
    assert _ended_once(stack, simulation)["result"] == "PASS"


@pytest.mark.both_clouds
@pytest.mark.parametrize("kill", [engines.kill, engines.kill_job])
def test_killed_validator_ends_run_with_error(
    stack: Stack, kill: Callable[[Stack, str], None]
) -> None:
    run = _launch(stack)

    kill(stack, _execution(stack, run))

    document = _ended_once(stack, run)
    assert document["result"] == "ERROR"
    assert document["error"]


@pytest.mark.both_clouds
def test_cancel_stops_the_engine(stack: Stack) -> None:
    run = _launch(stack)
    execution = _execution(stack, run)
    stack.until(lambda: engines.running(stack, execution))

    answer = stack.api.post(f"runs/{run}/cancel/")

    assert answer.status_code == 200
    assert answer.json()["result"] == "CANCELED"
    stack.until(lambda: not engines.running(stack, execution))
    assert _ended_once(stack, run)["result"] == "CANCELED"
