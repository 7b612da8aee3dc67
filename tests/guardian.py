"""Ends what an interrupted test run leaves behind: processes, and the containers of tests.

Fixtures end what they started, unless the run is killed. So a small process of its own session
watches over each run by a pipe, which the kernel closes however the run ends. All processes of a
run inherit a variable, as all its containers have a label, by which the guardian knows them.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

VARIABLE = "VALIDIBOT_TEST_RUN"
LABEL = "io.validibot.tests.run"
_GRACE_SECONDS = 15.0


class Guarded:
    """Plugin of pytest: starts the guardian, and sends it away when the run was not interrupted."""

    def __init__(self) -> None:
        run = uuid4().hex
        os.environ.pop(VARIABLE, None)  # noqa: TID251 - the guardian is no part of the run
        self._guardian = subprocess.Popen(
            [sys.executable, __file__, run], stdin=subprocess.PIPE, start_new_session=True
        )
        os.environ[VARIABLE] = run  # noqa: TID251 - for the processes that tests start

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            self._guardian.communicate(b"done")

    def pytest_unconfigure(self) -> None:
        self._guardian.communicate()


def variables() -> dict[str, str]:
    """Return what a process needs in its environment if it does not inherit ours."""
    run = os.environ.get(VARIABLE)  # noqa: TID251 - set above
    return {VARIABLE: run} if run else {}


def labels() -> dict[str, str]:
    """Return the labels of a container that tests start."""
    return {LABEL: variables().get(VARIABLE, "")}


def processes(run: str) -> Iterator[int]:
    """Yield the processes of a run (on Linux; elsewhere none are found)."""
    mark = f"{VARIABLE}={run}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            continue  # it has ended, or is somebody else's


def end(run: str) -> None:
    """End the processes of a run, politely at first, and remove its containers."""
    deadline = time.monotonic() + _GRACE_SECONDS
    number = signal.SIGTERM
    while left := list(processes(run)):
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        time.sleep(1)
    if docker := shutil.which("docker"):
        mine = [docker, "ps", "--all", "--quiet", "--filter", f"label={LABEL}={run}"]
        found = subprocess.run(mine, capture_output=True, text=True, check=False).stdout.split()
        if found:
            subprocess.run([docker, "rm", "--force", "--volumes", *found], check=False)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.buffer.read() != b"done":  # which returns when the run has ended
        end(sys.argv[1])
