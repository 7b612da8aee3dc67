"""Foreign programs end with their validator, within their limits."""

import os
import sys
import time
from pathlib import Path

import pytest

from validators.sdk.process import Ended, run_limited


def run(folder: Path, script: str, *, timeout: float = 10, memory_mb: int | None = None) -> Ended:
    return run_limited(
        [sys.executable, "-c", script],
        folder=folder,
        timeout=timeout,
        memory_mb=memory_mb,
        environment={},
    )


def test_the_end_of_what_it_said_is_kept(tmp_path: Path) -> None:
    ended = run(tmp_path, "import sys; print('x' * 9000 + 'end'); print('oh', file=sys.stderr)")

    assert ended.returncode == 0
    assert ended.stdout_tail.endswith("xend\n")
    assert len(ended.stdout_tail) == 8000
    assert ended.stderr_tail == "oh\n"


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    script = "import os,time; p=os.fork(); open('child','w').write(str(os.getpid())) if not p else 0; time.sleep(60)"

    ended = run(tmp_path, script, timeout=0.5)

    assert ended.timed_out
    assert ended.signal_name == "SIGTERM"
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.01)
    else:
        state = Path(f"/proc/{child}/stat").read_text().split()[2]
        assert state == "Z"


def test_a_crash_is_told_by_its_signal(tmp_path: Path) -> None:
    assert run(tmp_path, "import os; os.abort()").signal_name == "SIGABRT"


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_is_limited(tmp_path: Path) -> None:
    ended = run(tmp_path, "bytearray(1 << 30)", memory_mb=512)

    assert "MemoryError" in ended.stderr_tail


def test_nothing_of_our_environment_is_passed_on(tmp_path: Path) -> None:
    assert "PATH" in os.environ  # noqa: TID251 - what must not leak

    ended = run(tmp_path, "import os; print('PATH' in os.environ)")

    assert ended.stdout_tail == "False\n"
