"""Foreign programs: their limits, and how their end is reported."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.waiting import until
from validators.sdk.process import Ended, run_limited

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def run(folder: Path, script: str, *, timeout: float = 10, memory_mb: int | None = None) -> Ended:
    return run_limited(
        [sys.executable, "-c", script],
        folder=folder,
        timeout=timeout,
        memory_mb=memory_mb,
        environment={},
    )


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_output_keeps_last_bytes(tmp_path: Path) -> None:
    ended = run(tmp_path, "import sys; print('x' * 9000 + 'end'); print('oh', file=sys.stderr)")

    assert ended.returncode == 0
    assert ended.stdout_tail.endswith("xend\n")
    assert len(ended.stdout_tail) == 8000
    assert ended.stderr_tail == "oh\n"


def test_timeout_ends_program_and_children(tmp_path: Path) -> None:
    script = (
        "import os, time; p = os.fork();"
        "open('child', 'w').write(str(os.getpid())) if not p else 0; time.sleep(60)"
    )

    ended = run(tmp_path, script, timeout=4)

    assert ended.timed_out
    assert ended.signal_name == "SIGTERM"
    until(partial(is_gone, int((tmp_path / "child").read_text())))


@LINUX_ONLY
def test_killed_validator_takes_program_along(tmp_path: Path) -> None:
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    validator = (
        "import sys; from pathlib import Path; from validators.sdk.process import run_limited;"
        f"run_limited([sys.executable, '-c', {script!r}], folder=Path({str(tmp_path)!r}),"
        " timeout=60, memory_mb=None, environment={})"
    )
    parent = subprocess.Popen([sys.executable, "-c", validator], cwd=Path(__file__).parents[4])
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.01)

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    until(partial(is_gone, int(pid.read_text())))


def test_crash_reports_signal_name(tmp_path: Path) -> None:
    assert run(tmp_path, "import os; os.abort()").signal_name == "SIGABRT"


@LINUX_ONLY
def test_memory_limit_is_enforced(tmp_path: Path) -> None:
    ended = run(tmp_path, "bytearray(1 << 30)", memory_mb=512)

    assert "MemoryError" in ended.stderr_tail


def test_core_files_are_disabled(tmp_path: Path) -> None:
    ended = run(tmp_path, "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))")

    assert ended.stdout_tail == "(0, 0)\n"


def test_environment_is_not_inherited(tmp_path: Path) -> None:
    assert "PATH" in os.environ  # noqa: TID251 - what must not leak

    ended = run(tmp_path, "import os; print('PATH' in os.environ)")

    assert ended.stdout_tail == "False\n"


def test_missing_program_returns_127_with_reason(tmp_path: Path) -> None:
    ended = run_limited(
        ["/no/such/program"], folder=tmp_path, timeout=5, memory_mb=None, environment={}
    )

    assert ended.returncode == 127
    assert ended.stderr_tail == "/no/such/program: No such file or directory\n"


def test_programs_start_while_other_threads_hold_locks(tmp_path: Path) -> None:
    """Nothing of ours runs between fork and exec, so a lock of another thread cannot matter."""
    folders = [tmp_path / str(number) for number in range(4)]
    ended: list[Ended] = []
    for folder in folders:
        folder.mkdir()
    threads = [
        threading.Thread(target=lambda each=folder: ended.append(run(each, "print(1)")))
        for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [each.returncode for each in ended] == [0] * 4
