"""Child processes as executions: their folders and the message about their end."""

from collections.abc import Set as AbstractSet
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from validibot.runs.backends import subprocess as backends
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


@pytest.mark.parametrize(
    ("code", "message"),
    [(3, "ended with exit code 3."), (-9, "was ended by SIGKILL.")],
)
def test_exit_message_names_code_or_signal(code: int, message: str) -> None:
    assert backends._exit_message(code).endswith(message)
