"""Unit tests of the socket on which a supervisor takes commands."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from devenv.socket_folder import socket_folder
from devenv.stack.control import ControlClient, ControlServer, connect
from devenv.stack.problems import StackError


class Session:
    """A session that answers with what it was asked, and counts those that were closed."""

    closed = 0

    async def handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if request["command"] == "fail":
            raise StackError("It does not work.", hint="make doctor")
        return request

    async def close(self) -> None:
        Session.closed += 1


def serve(client: Callable[[str], None]) -> None:
    """Run a client in a thread beside a server."""

    async def main() -> None:
        async with ControlServer(Session) as server:
            await asyncio.to_thread(client, server.path)
            await asyncio.sleep(0.01)
            assert Path(server.path).parent.stat().st_mode & 0o777 == 0o700
        assert not Path(server.path).parent.exists()

    asyncio.run(main())


def test_answers_and_errors_reach_the_client() -> None:
    def client(path: str) -> None:
        with connect(path) as stack:
            assert stack.ask("stop", service="web") == {"command": "stop", "service": "web"}
            with pytest.raises(StackError, match="It does not work") as caught:
                stack.ask("fail")
            assert caught.value.hint == "make doctor"
            assert stack.ask("again") == {"command": "again"}

    serve(client)


@pytest.mark.parametrize(("length", "parent"), [(49, "t" * 49), (72, "/tmp")])
def test_socket_path_is_short_in_any_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, length: int, parent: str
) -> None:
    """The folder of macOS has 49 bytes, and a path of a socket at most 103."""
    monkeypatch.setattr(tempfile, "tempdir", "t" * length)

    assert socket_folder(room=32) == Path(parent)


def test_session_ends_with_its_connection() -> None:
    before = Session.closed

    def client(path: str) -> None:
        with connect(path) as stack:
            stack.ask("pause")

    serve(client)

    assert Session.closed == before + 1


@pytest.mark.parametrize("line", [b"{\n", b"[1]\n", b"\xff\n"])
def test_garbage_is_refused_and_the_session_goes_on(line: bytes) -> None:
    def client(path: str) -> None:
        with connect(path) as stack:
            stack._file.write(line)
            with pytest.raises(StackError, match="must be a JSON object"):
                stack.ask("first")
            assert _answers(stack)

    serve(client)


def _answers(stack: ControlClient) -> bool:
    return bool(stack.ask("second"))


def test_missing_supervisor_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="takes no commands"), connect(str(tmp_path / "control")):
        pass
