"""The listeners of the doors, on a Unix socket, and errors that may not end them."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devenv.gcp.intercept.doors import Handler, SocketListener


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


async def _ask(listening: socket.socket, handle: Handler) -> bytes:
    """Return what a listener sends to a client whose connection `handle` serves."""
    listener = SocketListener(listening, handle)
    reader, writer = await asyncio.open_unix_connection(listening.getsockname())
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
