"""Sockets by which containers reach Cloud SQL instances, as the connector of Cloud Run offers them.

Each account has a socket of its own for each instance, so that IAM knows who connects. The first
message of a client names its user and database; both get the names that they have in the server that
all instances share (https://www.postgresql.org/docs/current/protocol-message-formats.html). All that
follows is passed on as it is.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from devenv.gcp.errors import CloudError
from devenv.gcp.sql.server import SqlServer, local_name
from devenv.gcp.store import Store
from devenv.socket_folder import socket_folder

Reach: TypeAlias = Callable[[str, str], str]
"""Returns the instance of a connection name for an account. Raises CloudError."""

_FILE = ".s.PGSQL.5432"
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_LONGEST = 10_000  # bytes of the first message, as in PostgreSQL
_START_TIMEOUT = 30.0  # seconds for it
_CHUNK = 1 << 16
log = logging.getLogger(__name__)


class DatabaseSockets:
    """The sockets of a cloud; the folder for them is named after its data folder `data`.

    Paths of sockets are too short for one inside the data folder.
    """

    def __init__(self, data: Path, store: Store, server: SqlServer, reach: Reach) -> None:
        name = hashlib.sha256(str(data).encode()).hexdigest()[:10]
        own = f"cloudsql-{os.getuid()}-{name}"
        self._folder = socket_folder(room=len(f"/{own}/0123456789/{_FILE}")) / own
        self._table = store.table("sql_sockets")
        self._server = server
        self._reach = reach
        self._open: dict[str, asyncio.Task[asyncio.Server]] = {}
        self._busy: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Open those that are open for containers of before the start."""
        for key, _ in self._table.scan():
            account, _, connection = key.partition(" ")
            self.open(account, connection)

    def open(self, account: str, connection: str) -> str:
        """Return the folder with the socket of an account for an instance; open it if it is new."""
        folder = self._folder_of(account, connection)
        if str(folder) not in self._open:
            self._table.put(f"{account} {connection}", b"")
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                raise OSError(f"{self._folder} belongs to somebody else: remove it.")
            folder.mkdir(mode=0o700, exist_ok=True)
            listening = _listening(folder / _FILE)
            serving = asyncio.start_unix_server(
                lambda reader, writer: self._serve(account, connection, reader, writer),
                sock=listening,
            )
            self._open[str(folder)] = asyncio.ensure_future(serving)
        return str(folder)

    async def forget(self, connection: str) -> None:
        """Close the sockets for an instance that is gone.

        The folders stay, because containers may have mounted them: a later instance of this name
        opens its sockets there.
        """
        for key, _ in list(self._table.scan()):
            account, _, other = key.partition(" ")
            if other == connection:
                self._table.delete(key)
                folder = self._folder_of(account, connection)
                if opening := self._open.pop(str(folder), None):
                    (await opening).close()
                (folder / _FILE).unlink(missing_ok=True)

    def _folder_of(self, account: str, connection: str) -> Path:
        return self._folder / hashlib.sha256(f"{account} {connection}".encode()).hexdigest()[:10]

    async def stop(self) -> None:
        for opening in self._open.values():
            (await opening).close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._open.clear()
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(
        self,
        account: str,
        connection: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            instance = self._reach(account, connection)
            first = await asyncio.wait_for(_first_message(reader, writer), _START_TIMEOUT)
            if first:
                await self._connect(renamed(first, instance), reader, writer)
        except CloudError as error:
            log.warning("%s cannot connect to %s: %s", account, connection, error)
            writer.write(_fatal(error.message))
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
            log.warning("A connection to %s ended: %r", connection, error)
        finally:
            self._busy.discard(task)
            writer.close()

    async def _connect(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass everything on between a client and the server until one of them ends."""
        host, port = self._server.address
        from_server, to_server = await asyncio.open_connection(host, port)
        try:
            to_server.write(first)
            directions = {
                asyncio.ensure_future(_pass_on(reader, to_server)),
                asyncio.ensure_future(_pass_on(from_server, writer)),
            }
            _, left = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for each in left:
                each.cancel()
        finally:
            to_server.close()


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(128)
    listening.setblocking(False)
    return listening


async def _first_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the first message that is not a question for encryption, which is declined.

    Raises ValueError for what is no message of PostgreSQL; returns nothing if the client has gone.
    """
    while True:
        try:
            head = await reader.readexactly(8)
        except asyncio.IncompleteReadError:
            return b""
        length, code = struct.unpack("!II", head)
        if not 8 <= length <= _LONGEST:
            raise ValueError(f"its first message has {length} bytes")
        message = head + await reader.readexactly(length - 8)
        if code not in (_SSL, _GSS):
            return message
        writer.write(b"N")


def renamed(message: bytes, instance: str) -> bytes:
    """Return a first message with the names that user and database have in the server.

    Raises ValueError for a message that is broken.
    """
    code = struct.unpack("!I", message[4:8])[0]
    if code == _CANCEL:
        return message
    parts = message[8:].split(b"\0")
    if len(parts) % 2 or parts[-2:] != [b"", b""]:
        raise ValueError("its first message is broken")
    values = dict(zip(parts[:-2:2], parts[1:-1:2], strict=True))
    values.setdefault(b"database", values.get(b"user", b""))
    for key in (b"user", b"database"):
        values[key] = local_name(instance, values.get(key, b"").decode()).encode()
    body = b"".join(key + b"\0" + value + b"\0" for key, value in values.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, code) + body


def _fatal(text: str) -> bytes:
    """Return an ErrorResponse that ends the connection: SQLSTATE 08004, server rejected it."""
    fields = (("S", "FATAL"), ("V", "FATAL"), ("C", "08004"), ("M", text))
    body = b"".join(f"{key}{value}".encode() + b"\0" for key, value in fields) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
