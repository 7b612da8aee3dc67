"""The listeners of the doors, on a Unix socket, and errors that may not end them."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest

from devenv.gcp.intercept import doors
from devenv.gcp.intercept.doors import Handler, ProxyDoor, SocketListener
from devenv.gcp.intercept.router import Hosts
from tests.unit.devenv.gcp.fakes import MemoryJournal


class BrokenOnce(socket.socket):
    """A listening socket whose first connection cannot be accepted."""

    broken = True

    def _accept(self) -> tuple[int, object]:
        if self.broken:
            self.broken = False
            raise RuntimeError("no sockets now")
        return super()._accept()  # type: ignore[misc,no-any-return]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Callable[..., socket.socket]]:
    """Return a function that opens a listening socket of a class."""
    with ExitStack() as stack:

        def listen(kind: type[socket.socket]) -> socket.socket:
            made = stack.enter_context(kind(socket.AF_UNIX, socket.SOCK_STREAM))
            made.bind(str(tmp_path / "door"))
            made.listen()
            made.setblocking(False)
            return made

        yield listen


async def _ask(listening: socket.socket, handle: Handler, sent: bytes = b"") -> bytes:
    """Return what a listener sends to a client whose connection `handle` serves."""
    listener = SocketListener(listening, handle)
    reader, writer = await asyncio.open_unix_connection(listening.getsockname())
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    await listener.close()
    return answer


async def _answer(client: socket.socket) -> None:
    client.send(b"served")
    client.close()


async def _fail(client: socket.socket) -> None:
    raise ValueError(client)


@pytest.mark.parametrize("kind", [socket.socket, BrokenOnce])
def test_listener_outlives_an_accept_that_fails(
    kind: type[socket.socket], listening: Callable[..., socket.socket]
) -> None:
    assert asyncio.run(_ask(listening(kind), _answer)) == b"served"


def test_connection_is_closed_when_its_handler_fails(
    listening: Callable[..., socket.socket],
) -> None:
    assert asyncio.run(_ask(listening(socket.socket), _fail)) == b""


@pytest.mark.parametrize(
    ("sent", "seconds", "status"),
    [
        (b"GET http://h/ HTTP/1.1\r\nh", 0.0, b"408"),
        (b"GET http://h/ HTTP/1.1\r\nh: " + b"h" * 20_000, 60.0, b"400"),
        (b"", 0.0, b""),
    ],
    ids=["half", "too long", "idle"],
)
def test_head_that_a_proxy_cannot_read_is_refused_and_recorded(
    listening: Callable[..., socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    seconds: float,
    status: bytes,
) -> None:
    async def exchange() -> tuple[bytes, list[str]]:
        journal = MemoryJournal()
        proxy = ProxyDoor(hosts=Hosts(()), plain=Mock(), forward=Mock(), journal=journal)

        async def handle(client: socket.socket) -> None:
            await asyncio.sleep(0)  # what is sent arrives
            await proxy.handle(client)

        answer = await _ask(listening(socket.socket), handle, sent)
        return answer, [row["status"] for row in journal.rows({})]

    monkeypatch.setattr(doors, "_IDLE", seconds)
    answer, rows = asyncio.run(exchange())
    assert answer[9:12] == status
    assert rows == ([status.decode()] if status else [])
