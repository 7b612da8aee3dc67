"""Tests of ports that a process holds."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devenv.stack import ports
from tests.ports import free_port


@pytest.fixture
def taken() -> "socket.socket":
    return socket.create_server(("127.0.0.1", free_port()))


def test_port_is_free_after_close(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    assert not ports.is_free(port)

    taken.close()

    assert ports.is_free(port)


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells")
def test_holder_names_process(taken: socket.socket) -> None:
    with taken:
        assert ports.holder(taken.getsockname()[1]).endswith(f"({os.getpid()})")


def test_holder_of_free_port_is_unknown() -> None:
    assert ports.holder(1) == "another program"


def test_reserved_port_is_refused_to_another_process(
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


def test_listened_port_is_not_reserved(
    taken: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with taken:
        assert not ports.Reservations().take(taken.getsockname()[1])
