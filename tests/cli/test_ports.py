"""A port that somebody holds."""

import os
import socket
import sys

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
