"""No accepted task is lost when the emulated cloud is killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cloud import ROOT
from tests.emulator.target import Worker, working
from tests.emulator.test_process import wait_for

TOML = """
[gcp]
iam = "off"
[[gcp.queues]]
name = "runs"
max_concurrent_dispatches = 1
"""
TASKS = "/v2/projects/local-project/locations/us-west1/queues/runs/tasks"


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    (folder / "devenv.toml").write_text(TOML)
    options = f"--config {folder / 'devenv.toml'} --data {folder / 'data'}".split()
    process = subprocess.Popen([sys.executable, "-m", "devenv.gcp", *options], cwd=ROOT)
    try:
        yield process, wait_for(folder / "data" / "endpoints.json", process.pid)["plain"] + TASKS
    finally:
        process.kill()
        process.wait()


def counts(worker: Worker, number: int) -> dict[str, str]:
    """Return the retry count of each of the next `number` tasks."""
    headers = [worker.next().headers for _ in range(number)]
    return {h["x-cloudtasks-taskname"]: h["x-cloudtasks-taskretrycount"] for h in headers}


def test_tasks_are_delivered_after_kill(tmp_path: Path) -> None:
    with working() as worker:
        worker.script = [0]  # the first delivery is never answered
        with running(tmp_path) as (process, tasks):
            for _ in range(10):
                task = {"task": {"httpRequest": {"url": worker.url}}}
                httpx.post(tasks, json=task, trust_env=False).raise_for_status()
            in_flight = worker.next().headers["x-cloudtasks-taskname"]
            process.send_signal(signal.SIGKILL)
            process.wait()
        with running(tmp_path):
            found = counts(worker, 10)
    assert len(found) == 10
    assert found.pop(in_flight) == "1"
    assert set(found.values()) == {"0"}
