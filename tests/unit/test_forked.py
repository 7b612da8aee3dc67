"""Server of forked interpreters: its clients do not disturb each other."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests import forked
from tests.forked import Fork, ForkServer


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return ForkServer(sys.executable, [], {"PATH": os.defpath})


def test_client_without_request_does_not_end_the_server(server: ForkServer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server.address)

    assert server.run("-c", "print(7)", environ={}, folder=tmp_path).stdout == "7\n"


def test_program_ends_before_a_fork_that_began_later(server: ForkServer, tmp_path: Path) -> None:
    text = forked._PROGRAM.format(sys.executable, server.address, ["-c", "print(input())"])
    with (
        TemporaryFile() as file,
        subprocess.Popen(
            [sys.executable, "-IS", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program,
    ):
        assert program.stdin
        assert program.stdout
        later = Fork(
            server.address,
            ["-c", "import signal; signal.pause()"],
            environ={},
            folder=tmp_path,
            files=[file.fileno()] * 3,
        )
        try:
            assert program.communicate(b"seven\n", timeout=120)[0] == b"seven\n"
        finally:
            later.send_signal(signal.SIGKILL)
            program.kill()
        assert later.wait(120) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("import atexit; atexit.register(print, 'bye')", "bye\n"),
        ("import threading; threading.Timer(0.1, print, ['late']).start()", "late\n"),
    ],
)
def test_fork_ends_as_an_interpreter_does(
    server: ForkServer, tmp_path: Path, code: str, output: str
) -> None:
    assert server.run("-c", code, environ={}, folder=tmp_path).stdout == output
