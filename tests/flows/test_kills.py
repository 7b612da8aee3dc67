"""Whatever dies while a run is in flight, the run ends once, and rightly."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(240)]

SLUG = "energyplus-small-office"
ENDS = ("passed", "failed", "error", "timed_out", "canceled")


def _launch(stack: Stack) -> str:
    sample = stack.sample(SLUG)
    answer = stack.launch(SLUG, sample.read_bytes(), sample.name)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def _reached(stack: Stack, run: str, kind: str) -> None:
    stack.until(lambda: kind in stack.events(run), seconds=30)


def _kill_service(stack: Stack, name: str) -> None:
    pid = stack.status()["services"][name]["pid"]
    os.kill(pid, signal.SIGKILL)
    stack.until_restarted(name, not_pid=pid)


def _engines(stack: Stack) -> list[int]:
    """Find the engines of this stack: they work in the folders of its jobs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            ours = (folder / "cwd").readlink().is_relative_to(stack.root)
        except OSError:
            continue
        if ours and command[0].endswith(b"payload/energyplus"):
            found.append(int(folder.name))
    return found


def _kill_engine(stack: Stack) -> None:
    for pid in stack.until(lambda: _engines(stack), seconds=20):
        os.kill(pid, signal.SIGKILL)


def _kill_job(stack: Stack) -> None:
    """Kill the validator, which started the engine, as Cloud Run would when memory runs out."""
    engines: list[int] = stack.until(lambda: _engines(stack), seconds=20)
    status = Path(f"/proc/{engines[0]}/status").read_text()
    parent = int(status.partition("PPid:\t")[2].partition("\n")[0])
    os.kill(parent, signal.SIGKILL)


def _ended_once(stack: Stack, run: str) -> dict[str, object]:
    document = stack.finished(run)
    time.sleep(1.5)  # whatever is still under way may arrive now, and must change nothing
    assert stack.get_run(run) == document
    kinds = stack.events(run)
    assert sum(kind in ENDS for kind in kinds) == 1
    issues = [str(issue) for step in document["steps"] for issue in step["issues"]]
    assert len(issues) == len(set(issues))
    return document


@pytest.mark.parametrize("moment", ["queued", "launched"])
@pytest.mark.parametrize("service", ["worker", "gcp", "postgres", "web"])
def test_a_run_passes_although_a_service_is_killed(stack: Stack, service: str, moment: str) -> None:
    run = _launch(stack)
    _reached(stack, run, moment)

    _kill_service(stack, service)

    assert _ended_once(stack, run)["result"] == "PASS"


@pytest.mark.parametrize("service", ["worker", "gcp", "postgres"])
def test_no_run_of_a_burst_is_lost_or_ends_twice(stack: Stack, service: str) -> None:
    content = stack.sample("meter-readings-schema").read_bytes()
    accepted = []

    def burst() -> None:
        for _ in range(20):
            answer = stack.launch("meter-readings-schema", content, "a.json", Prefer="wait=0")
            if answer.is_success:
                accepted.append(str(answer.json()["id"]))

    pid = stack.status()["services"][service]["pid"]
    threads = [threading.Thread(target=burst) for _ in range(4)]
    for thread in threads:
        thread.start()
    stack.until(lambda: len(accepted) > 5)
    os.kill(pid, signal.SIGKILL)
    stack.until_restarted(service, not_pid=pid)
    for thread in threads:
        thread.join()

    for run in accepted:
        assert stack.finished(run)["result"] == "PASS"
        assert sum(kind in ENDS for kind in stack.events(run)) == 1


@pytest.mark.parametrize("kill", [_kill_engine, _kill_job])
def test_a_killed_validator_is_an_error_of_ours_with_a_sentence(
    stack: Stack, kill: Callable[[Stack], None]
) -> None:
    run = _launch(stack)

    kill(stack)

    document = _ended_once(stack, run)
    assert document["result"] == "ERROR"
    assert document["error"]


def test_a_cancelled_run_stops_its_engine(stack: Stack) -> None:
    run = _launch(stack)
    stack.until(lambda: _engines(stack), seconds=20)

    answer = stack.api.post(f"runs/{run}/cancel/")

    assert answer.status_code == 200
    assert answer.json()["result"] == "CANCELED"
    stack.until(lambda: not _engines(stack), seconds=20)
    assert _ended_once(stack, run)["result"] == "CANCELED"
