"""Systems without /proc and prctl, such as macOS, simulated on this one."""

import os
import re
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

ROOT = Path(__file__).parents[4]
# Not on macOS, whose bash is 3.2 and whose make is 3.81: programs of GNU and their options, arrays from
# lines, an empty array in quotes under `set -u`, two modifiers of a variable.
MISSING = re.compile(
    r"\b(mapfile|readarray|numfmt|nproc|tac|realpath|sha256sum)\b|readlink -f|sed -i |grep -\w*P"
    r"|xargs -r|sort -V|stat -c|date -d|(?<!\+)\"\$\{\w+\[@\]\}\"|override export|export override"
)
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


def test_scripts_of_developers_need_nothing_of_gnu() -> None:
    scripts = [ROOT / "Makefile", ROOT / "compose/build.sh"]
    scripts += [*ROOT.glob("compose/production/*/build.sh"), *ROOT.glob("devenv/*.sh")]
    found = {(one.name, hit[0]) for one in scripts for hit in MISSING.finditer(one.read_text())}
    assert len(scripts) == 6
    assert found == set()


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
