"""Unit tests of child processes: output lines, process groups, exit codes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from devenv.stack.process import LONGEST_LINE, LineSplitter, Process, describe_exit, send_signal
from tests.waiting import until


def run(script: str, *, stop: bool = False, within: float = 5.0) -> tuple[int, list[str]]:
    lines: list[str] = []
    spoke = asyncio.Event()

    def write(line: str) -> None:
        lines.append(line)
        spoke.set()

    async def main() -> int:
        process = await Process.start(
            ("sh", "-c", script),
            environ=dict(os.environ),  # noqa: TID251 - the child needs a PATH
            folder=Path.cwd(),
            stop_signal=signal.SIGTERM,
            write=write,
        )
        if stop:
            await spoke.wait()
            await process.stop(signal.SIGTERM, within=within)
        return await process.wait()

    return asyncio.run(main()), lines


def test_stdout_and_stderr_arrive_as_lines() -> None:
    assert run("echo one; echo two >&2; printf three; exit 4") == (4, ["one", "two", "three"])


def test_grandchild_holding_output_does_not_delay_exit() -> None:
    """A wait for the grandchild would last until the timeout of the test."""
    code, lines = run("sleep 3600 & echo pid $!; exit 3")

    assert code == 3
    until(partial(is_gone, int(lines[0].split()[1])))


def test_stop_sends_stop_signal_first() -> None:
    code, lines = run("trap 'echo bye; exit 0' TERM; echo up; sleep 20 & wait", stop=True)

    assert (code, lines) == (0, ["up", "bye"])


def test_stop_kills_process_that_ignores_signal() -> None:
    code, _ = run("trap '' TERM; echo up; sleep 20 & wait; wait", stop=True, within=0.2)

    assert code == -signal.SIGKILL


def test_line_without_end_is_cut() -> None:
    lines: list[str] = []
    feed = LineSplitter(lines.append)

    feed.feed(b"x" * (LONGEST_LINE + 5))
    feed.feed(b"y\xff\r\n")

    assert [len(line) for line in lines] == [LONGEST_LINE, 7]
    assert lines[1] == "xxxxxy\N{REPLACEMENT CHARACTER}"


def test_exit_codes_are_described_in_words() -> None:
    assert describe_exit(1) == "exited with 1"
    assert describe_exit(-9) == "was killed by SIGKILL"


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def test_child_cancelled_while_starting_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        starting = asyncio.create_task(
            Process.start(
                ("sh", "-c", "sleep 0.2; touch lives"),
                environ={"PATH": "/usr/bin:/bin"},
                folder=tmp_path,
                stop_signal=signal.SIGTERM,
                write=lambda _: None,
            )
        )
        await asyncio.sleep(0)  # it has begun, and has not ended: that takes more turns of the loop
        starting.cancel()
        await asyncio.wait({starting})

    asyncio.run(main())
    time.sleep(0.3)

    assert not (tmp_path / "lives").exists()


@pytest.mark.parametrize("pid", [1, 0, -1, -4711])
def test_signal_to_group_or_init_is_refused(pid: int) -> None:
    with pytest.raises(ValueError, match="may be signalled"):
        send_signal(pid, signal.SIGTERM)


def test_signal_to_missing_process_returns_false() -> None:
    process = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(process, 0)

    assert not send_signal(process, 0)
    assert send_signal(os.getpid(), 0)


def test_child_dies_with_its_parent() -> None:
    start = """
import asyncio, os, pathlib, signal, sys
from devenv.stack.process import Process

async def main():
    child = await Process.start(
        ("sleep", "60"), environ=dict(os.environ), folder=pathlib.Path.cwd(),
        stop_signal=signal.SIGTERM, write=print,
    )
    # The child is `sleep` once it has asked for the signal.
    while "sleep" not in pathlib.Path(f"/proc/{child.pid}/comm").read_text():
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", start], stdout=subprocess.PIPE, text=True, check=False
    )

    assert done.returncode == -signal.SIGKILL
    until(partial(is_gone, int(done.stdout)))
