"""Child processes as executions: their limits, their folders and their end."""

import json
import os
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from subprocess import Popen
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from tests.waiting import until
from validibot.runs.backends import subprocess as backends
from validibot.runs.backends.base import ExecutionState, LaunchError, LaunchRequest, Phase
from validibot.runs.backends.subprocess import SubprocessBackend


@pytest.fixture(autouse=True)
def _temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))


def folder(tmp_path: Path, attempt: UUID) -> Path:
    made = tmp_path / f"{backends._folder_prefix()}{attempt}-x7_a"
    made.mkdir()
    (made / "eplusout.sql").write_text("rows")
    return made


def sweep(ended: AbstractSet[UUID]) -> int:
    return SubprocessBackend("default", {}).sweep(lambda attempts: attempts & ended)


def test_sweep_removes_folders_of_ended_attempts(tmp_path: Path) -> None:
    ended, active = uuid4(), uuid4()
    left, used = folder(tmp_path, ended), folder(tmp_path, active)

    assert sweep({ended}) == 1
    assert (left.exists(), used.exists()) == (False, True)


def test_sweep_leaves_folders_of_other_deployments(tmp_path: Path, settings: Settings) -> None:
    attempt = uuid4()
    theirs = folder(tmp_path, attempt)
    settings.DATA_ROOT = "file:///srv/ours"

    assert sweep({attempt}) == 0
    assert theirs.exists()


_TELLS = """
import json, os, pathlib, resource, sys, time
while resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
    time.sleep(0.01)
told = {
    "environ": dict(os.environ),
    "folder": os.getcwd(),
    "input": sys.stdin.read(),
    "is_leader": os.getsid(0) == os.getpid(),
    "limits": [resource.getrlimit(kind) for kind in (resource.RLIMIT_DATA, resource.RLIMIT_CORE)],
}
pathlib.Path(os.environ["VALIDIBOT_OUTPUT_URI"]).write_text(json.dumps(told))
"""
_IGNORES_SIGTERM = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(os.environ["VALIDIBOT_OUTPUT_URI"]).touch()
time.sleep(60)
"""


class Ending:
    """Receives the final state of an execution, and what else is true at that moment."""

    def __init__(self) -> None:
        self.states: list[ExecutionState] = []
        self.asked: list[Phase] = []

    def __call__(self, state: ExecutionState) -> None:
        self.asked.append(SubprocessBackend("default", {}).state(state.execution).phase)
        self.states.append(state)

    def wait(self) -> ExecutionState:
        until(lambda: bool(self.states))
        [state] = self.states
        return state


def launched(source: str, tmp_path: Path, **changes: Any) -> tuple[str, Ending]:
    """Launch a Python program as a validator; return the execution and its ending."""
    ending = Ending()
    facts: dict[str, Any] = {
        "run_id": uuid4(),
        "attempt_id": uuid4(),
        "job": "",
        "image": "",
        "command": ["python", "-S", "-c", source],
        "input_uri": "file:///nowhere/input.json",
        "output_uri": str(tmp_path / "told"),
        "capability_url": "",
        "timeout_seconds": 30,
        "memory_mb": 64,
        "on_end": ending,
    }
    options = {"environ": {"STORAGE": "here"}, "validators_dir": "/srv/code/validators"}
    backend = SubprocessBackend("default", {"OPTIONS": options})
    return backend.launch(LaunchRequest(**facts | changes)).execution, ending


@pytest.mark.skipif(sys.platform != "linux", reason="limits are set on Linux only")
def test_child_gets_limits_folder_and_variables_of_its_own(tmp_path: Path) -> None:
    run_id, attempt_id = uuid4(), uuid4()

    execution, ending = launched(_TELLS, tmp_path, run_id=run_id, attempt_id=attempt_id)

    message = "The validator's process ended with exit code 0."
    succeeded = ExecutionState(phase=Phase.SUCCEEDED, execution=execution, message=message)
    assert ending.wait() == succeeded
    told = json.loads((tmp_path / "told").read_text())
    scratch = Path(told["folder"])
    assert scratch.name.startswith(f"{backends._folder_prefix()}{attempt_id}-")
    assert not scratch.exists()
    told["environ"].pop("LC_CTYPE", None)  # of the interpreter
    assert told["environ"] == {
        "STORAGE": "here",
        "PATH": os.defpath,
        "PYTHONPATH": "/srv/code",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "VALIDIBOT_INPUT_URI": "file:///nowhere/input.json",
        "VALIDIBOT_OUTPUT_URI": str(tmp_path / "told"),
        "VALIDIBOT_RUN_ID": str(run_id),
        "VALIDIBOT_ATTEMPT_SCRATCH_ROOT": str(scratch),
    }
    assert (told["input"], told["is_leader"]) == ("", True)
    assert told["limits"] == [[(64 + 512) * 1024 * 1024] * 2, [0, 0]]


@pytest.mark.parametrize(
    ("source", "seconds", "phase", "message"),
    [
        ("raise SystemExit(3)", 30, Phase.FAILED, "ended with exit code 3."),
        ("import os; os.kill(os.getpid(), 9)", 30, Phase.FAILED, "was ended by SIGKILL."),
        ("import time; time.sleep(60)", 0, Phase.TIMED_OUT, "was ended by SIGTERM."),
        (_IGNORES_SIGTERM, 0, Phase.TIMED_OUT, "was ended by SIGKILL."),
    ],
    ids=["exit", "signal", "overdue", "stubborn"],
)
def test_end_of_child_is_reported_while_it_still_exists(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    seconds: int,
    phase: Phase,
    message: str,
) -> None:
    wait = backends._wait

    def wait_for_start(child: "Popen[bytes]", seconds: float) -> int | None:
        if source == _IGNORES_SIGTERM:
            until((tmp_path / "told").exists)
        return wait(child, seconds)

    monkeypatch.setattr(backends, "_wait", wait_for_start)
    monkeypatch.setattr(backends, "_GRACE_SECONDS", 0.5 if source == _IGNORES_SIGTERM else 20)

    execution, ending = launched(source, tmp_path, timeout_seconds=seconds)

    state = ending.wait()
    assert (state.phase, state.execution) == (phase, execution)
    assert state.message == f"The validator's process {message}"
    assert ending.asked == [Phase.RUNNING]
    until(lambda: SubprocessBackend("default", {}).state(execution).phase is Phase.FAILED)
    gone = SubprocessBackend("default", {}).state(execution)
    assert (gone.execution, gone.message) == (execution, "The validator's process has ended.")


def test_cancelled_child_is_ended_once(tmp_path: Path) -> None:
    execution, ending = launched("import time; time.sleep(60)", tmp_path)
    backend = SubprocessBackend("default", {})

    assert backend.cancel(execution)

    assert ending.wait().message == "The validator's process was ended by SIGTERM."
    until(lambda: not backend.cancel(execution))
    assert not backend.cancel(f"{os.getpid()}:1")  # the number of another process


def test_program_that_cannot_be_run_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(
        LaunchError, match=r"^/no/such/program: No such file or directory$"
    ) as raised:
        launched("", tmp_path, command=["/no/such/program"])

    assert raised.value.permanent
    assert list(tmp_path.glob("validibot-*")) == []


def test_execution_is_named_by_its_number_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", Mock(side_effect=FileNotFoundError))

    assert backends._name(os.getpid()) == f"{os.getpid()}:"
