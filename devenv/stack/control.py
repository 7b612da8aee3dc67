"""Commands to a running supervisor: requests and answers as JSON lines over a Unix socket.

The socket lies in a folder of its own that only its owner may enter; not below the stack's folder,
because the path of a socket has at most 103 bytes on some systems (sun_path, unix(7)). Each
connection is a session: what it holds ends when the client goes away, however that ends.
"""

import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from devenv.socket_folder import socket_folder
from devenv.stack.problems import StackError

_HINT_OLD = "make down && make up"


class ControlSession(Protocol):
    """Requests of one client to the supervisor."""

    async def handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to one request. Raises StackError."""
        ...

    async def close(self) -> None:
        """End what the client held."""
        ...


class ControlServer:
    """Listener of one supervisor; `path` is known once it is entered."""

    path = ""

    def __init__(self, session: Callable[[], ControlSession]) -> None:
        self._session = session
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        folder = tempfile.mkdtemp(prefix="devenv-", dir=socket_folder(room=32))
        self.path = f"{folder}/control"
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        shutil.rmtree(Path(self.path).parent, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self._session()
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(session, line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # ValueError: a line without an end
            pass
        finally:
            await session.close()
            writer.close()


async def _answer(session: ControlSession, line: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        return {"error": "A request to the supervisor must be a JSON object.", "hint": ""}
    try:
        return {"result": await session.handle(request)}
    except StackError as error:
        return {"error": error.message, "hint": error.hint}


class ControlClient:
    """Connection to the supervisor that listens at a path."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the answer. Raises StackError."""
        request = json.dumps({"command": command, **arguments}).encode()
        line = b""
        with suppress(ConnectionError):
            self._file.write(request + b"\n")
            self._file.flush()
            line = self._file.readline()
        if not line:
            raise StackError("The stack ended before it answered.", hint="make status")
        answer = json.loads(line)
        if "error" in answer:
            raise StackError(answer["error"], hint=answer["hint"])
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        with suppress(ConnectionError):
            self._file.close()


@contextmanager
def connect(path: str) -> Iterator[ControlClient]:
    """Connect to the supervisor that listens at `path`. Raises StackError."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            raise StackError("The running stack takes no commands.", hint=_HINT_OLD) from error
        client = ControlClient(connection)
        try:
            yield client
        finally:
            client.close()
