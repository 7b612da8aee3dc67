"""A port that somebody holds."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devenv.stack import ports


@pytest.fixture
def taken() -> "socket.socket":
    return socket.create_server(("127.0.0.1", 0))


def test_a_port_is_free_once_nobody_listens(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    assert not ports.is_free(port)

    taken.close()

    assert ports.is_free(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells")
def test_the_process_that_holds_a_port_is_named(taken: socket.socket) -> None:
    with taken:
        assert ports.holder(taken.getsockname()[1]).endswith(f"({os.getpid()})")


def test_nobody_known_holds_a_free_port() -> None:
    assert ports.holder(1) == "another program"


def test_two_stacks_that_start_at_once_never_take_the_same_port(
    taken: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = taken.getsockname()[1]
    taken.close()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ports.Reservations().take(port)

    ask = f"from devenv.stack.ports import Reservations; print(Reservations().take({port}))"
    other = subprocess.run(
        [sys.executable, "-c", ask],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert other.stdout == "False\n"


def test_a_port_that_somebody_listens_on_is_not_reserved(
    taken: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with taken:
        assert not ports.Reservations().take(taken.getsockname()[1])
