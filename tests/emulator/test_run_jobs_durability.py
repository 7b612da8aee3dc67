"""No execution is lost, and none runs twice, when the emulated cloud is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cloud import ROOT
from tests.emulator.test_process import wait_for
from tests.waiting import until

TOML = """
[gcp]
iam = "off"
accounts = ["runner"]
[[gcp.images]]
name = "demo/tool:1"
command = ["{{python}}", "-m", "tool"]
warm = {warm}
[[gcp.jobs]]
name = "tool"
image = "demo/tool:1"
account = "runner"
max_retries = 0
"""
JOB = "/v2/projects/local-project/locations/us-west1/jobs/tool"
TOOL = """
import os, pathlib, sys, time
here = pathlib.Path.cwd()
with (here / "started").open("a") as file:
    print(os.getpid(), sys.orig_argv[1], file=file)
while not (here / "go").exists():
    time.sleep(0.01)
"""


@contextmanager
def running(folder: Path, *, warm: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the emulated cloud with `folder` as its project."""
    (folder / "devenv.toml").write_text(TOML.format(warm='["json"]' if warm else "[]"))
    (folder / "tool.py").write_text(TOOL)
    options = ["--config", "devenv.toml", "--data", "data"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - for a child of this test
    process = subprocess.Popen(
        [sys.executable, "-m", "devenv.gcp", *options], cwd=folder, env=environ
    )
    try:
        yield process, wait_for(folder / "data" / "endpoints.json", process.pid)["plain"]
    finally:
        process.kill()
        process.wait()


def ask(method: str, url: str) -> Any:
    answer = httpx.request(method, url, trust_env=False, json={} if method == "POST" else None)
    return answer.raise_for_status().json()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(stat.read_bytes().rpartition(b")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def warm_up(folder: Path, url: str) -> None:
    """Run the job until a run starts from the waiting process."""
    (folder / "go").touch()

    def look() -> bool:
        before = len(lines(folder / "started"))
        ask("POST", f"{url}{JOB}:run")
        return until(lambda: lines(folder / "started")[before:])[0].endswith(" -c")

    until(look)
    (folder / "go").unlink()
    (folder / "started").unlink()


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_running_task_survives_kill(tmp_path: Path, *, warm: bool) -> None:
    with running(tmp_path, warm=warm) as (process, url):
        if warm:
            warm_up(tmp_path, url)
        name = ask("POST", f"{url}{JOB}:run")["metadata"]["name"]
        (line,) = until(lambda: lines(tmp_path / "started"))
        waiting = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert alive(int(line.split()[0]))
    with running(tmp_path, warm=warm) as (_, url):
        assert ask("GET", f"{url}/v2/{name}")["runningCount"] == 1
        (tmp_path / "go").touch()
        until(lambda: ask("GET", f"{url}/v2/{name}").get("succeededCount") == 1)
    assert len(lines(tmp_path / "started")) == 1
    assert line.split()[1] == ("-c" if warm else "-m")
    until(lambda: not any(alive(pid) for pid in waiting))


def test_task_lost_with_emulator_is_internal_error(tmp_path: Path) -> None:
    with running(tmp_path) as (process, url):
        name = ask("POST", f"{url}{JOB}:run")["metadata"]["name"]
        (line,) = until(lambda: lines(tmp_path / "started"))
        supervisors = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for pid in (*supervisors, int(line.split()[0])):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    with running(tmp_path) as (_, url):
        until(lambda: ask("GET", f"{url}/v2/{name}").get("failedCount") == 1)
        conditions = ask("GET", f"{url}/v2/{name}")["conditions"]
    (message,) = (each["message"] for each in conditions if each["type"] == "Completed")
    assert message.endswith("failed with exit code: 0 and message: Internal error.")


def test_graceful_stop_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path) as (process, url):
        name = ask("POST", f"{url}{JOB}:run")["metadata"]["name"]
        (line,) = until(lambda: lines(tmp_path / "started"))
        process.terminate()
        assert process.wait(timeout=300) == 0
        until(lambda: not alive(int(line.split()[0])))
    (tmp_path / "go").touch()
    with running(tmp_path) as (_, url):
        until(lambda: ask("GET", f"{url}/v2/{name}").get("succeededCount") == 1)
    assert len(lines(tmp_path / "started")) == 2
