"""The state file and the lock."""

from pathlib import Path

import pytest

from devenv.stack import statefile
from devenv.stack.errors import AlreadyRunning
from devenv.stack.statefile import Lock, ServiceState, StackState


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    state = StackState(phase="ready", pid=7, services={"web": ServiceState("healthy", pid=8)})

    statefile.write(tmp_path / "state.json", state)

    assert statefile.read(tmp_path / "state.json") == state


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"services": 3}', '{"services": {"a": 1}}'])
def test_a_spoilt_file_reads_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)

    assert statefile.read(tmp_path / "state.json") == StackState()


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not statefile.is_running(path)

    with Lock(path):
        assert statefile.is_running(path)
        with pytest.raises(AlreadyRunning), Lock(path):
            pass

    assert not statefile.is_running(path)
