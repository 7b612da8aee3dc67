"""Systems without /proc and prctl, such as macOS, simulated on this one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devenv.cli import doctor
from devenv.console import local
from devenv.gcp.run_jobs.runtimes import supervisor
from devenv.stack import ports
from tests.waiting import until

EXEC = Path(ports.__file__).with_name("exec.py")
PARENT = f"""
import os, subprocess, sys
child = (
    "import runpy, sys; sys.platform = 'darwin'; "
    "sys.argv = ['exec', '15', '%d', 'sleep', '300']; "
    "runpy.run_path({str(EXEC)!r}, run_name='__main__')"
)
print(subprocess.Popen([sys.executable, "-c", child % os.getpid()]).pid, flush=True)
sys.stdin.read()
"""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_service_ends_when_its_killed_parent_cannot_signal() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    assert parent.stdin
    child = int(parent.stdout.readline())
    until(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes())

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    until(lambda: not _lives(child))
    parent.stdin.close()
    parent.stdout.close()


def test_holder_of_port_is_asked_of_lsof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ports.holder(8000) == "another program"

    (tmp_path / "lsof").write_text("#!/bin/sh\nprintf 'p123\\ncnode\\nf21\\n'\n")
    (tmp_path / "lsof").chmod(0o755)
    assert ports.holder(8000) == "node (123)"


def test_memory_of_processes_is_asked_of_ps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_proc(_: str) -> list[str]:
        raise FileNotFoundError

    monkeypatch.setattr(os, "listdir", no_proc)
    monkeypatch.setattr(local, "_PROC", tmp_path)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        until(lambda: supervisor.resident(child.pid) > 100_000)
        assert local.memory_of_groups()[child.pid] > 100_000
        child.kill()


@pytest.mark.parametrize(
    ("name", "result", "text"),
    [("Linux", "ok", "Linux"), ("Darwin", "ok", "macOS"), ("Plan9", "warn", "was never tried")],
)
def test_doctor_tells_what_the_system_lacks(
    name: str, result: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: name)
    found = doctor.system()

    assert found.result == result
    assert text in found.text
