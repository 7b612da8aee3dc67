"""Unit tests of the state file and the lock."""

import os
from pathlib import Path

import pytest

from devenv.stack import statefile
from devenv.stack.problems import AlreadyRunning, StateUnreadable
from devenv.stack.statefile import Lock, ServiceState, StackState


def test_written_state_is_read_back(tmp_path: Path) -> None:
    services = {"web": ServiceState("healthy", pid=8)}
    state = StackState(phase="ready", pid=7, projects=("one", "two"), services=services)

    statefile.write(tmp_path / "state.json", state)

    assert statefile.read(tmp_path / "state.json") == state


def test_missing_state_file_reads_as_empty_state(tmp_path: Path) -> None:
    assert statefile.read(tmp_path / "state.json") == StackState()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"services": 3}',
        '{"services": {"a": 1}}',
        '{"services": {}, "pid": -1}',
        '{"services": {}, "pid": "7"}',
        '{"services": {}, "pid": true}',
        '{"services": {}, "projects": 3}',
    ],
)
def test_damaged_state_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(StateUnreadable, match=r"state\.json"):
        statefile.read(tmp_path / "state.json")


def test_fields_of_another_version_are_ignored(tmp_path: Path) -> None:
    text = '{"pid": 7, "colour": 1, "services": {"web": {"state": "healthy", "size": 2}}}'
    (tmp_path / "state.json").write_text(text)

    state = statefile.read(tmp_path / "state.json")

    assert (state.pid, state.services["web"].state) == (7, "healthy")


def test_second_lock_is_refused_while_first_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not statefile.is_running(path)

    with Lock(path):
        assert statefile.is_running(path)
        with pytest.raises(AlreadyRunning), Lock(path):
            pass

    assert not statefile.is_running(path)


def test_lock_names_its_holder(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"):
        assert statefile.lock_holder(tmp_path / "lock") == os.getpid()


@pytest.mark.parametrize("text", ["", "x", "0", "1", "-7"])
def test_lock_without_usable_process_number_has_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)

    assert statefile.lock_holder(tmp_path / "lock") == 0
