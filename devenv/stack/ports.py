"""Which ports a stack takes: those it asks for, or the next free ones, and the same ones again."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_TRIES = 200
_LISTEN = "0A"


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


class Reservations:
    """Ports that no other stack of this user takes while this process lives.

    A port is chosen long before its server listens, and again free while that server restarts.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir(), f"validibot-ports-{os.getuid()}")
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def take(self, port: int) -> bool:
        """Reserve a port unless somebody has it; the kernel lets go of it however we end."""
        path = self._folder / str(port)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        if not is_free(port):
            os.close(file)
            return False
        return True


def choose(
    wanted: Mapping[str, int],
    *,
    remembered: Mapping[str, int],
    free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """Return a port for each name: the one remembered, the one wanted, or the next free one.

    What is wanted by name is never given away to somebody else who came first.
    """
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        reserved = {*chosen.values(), *(set(wanted.values()) - {port})}
        candidates = [remembered.get(name, port), *range(port, min(port + _TRIES, 65536))]
        chosen[name] = next(
            (one for one in candidates if one not in reserved and free(one)),
            port,
        )
    return chosen


def holder(port: int) -> str:
    """Name the process that listens on the port, where /proc tells (Linux, see proc(5))."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                process = descriptor.parents[1]
                return f"{(process / 'comm').read_text().strip()} ({process.name})"
    return "another program"


def _listening(port: int) -> list[str]:
    inodes = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.append(fields[9])
    return inodes
