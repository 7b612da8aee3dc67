"""Ports: which ones a stack takes, and which process listens on one.

A stack takes the ports it asks for or the next free ones, and the same ones again next time.
"""

import fcntl
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_TRIES = 200
_LISTEN = "0A"
_UNKNOWN = "another program"


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port of the loopback interface now."""
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

    A port is chosen long before its server listens, and is free while that server restarts.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir(), f"devenv-ports-{os.getuid()}")
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def take(self, port: int) -> bool:
        """Reserve a port unless it is taken; the kernel releases it however this process ends."""
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
    """Return a port for each name: the remembered one, the wanted one, or the next free one.

    A port that one name wants is never given to another.
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
    """Return name and number of the process that listens on the port, as far as the system tells."""
    if not can_tell_listeners():
        return _holder_by_lsof(port)
    sockets = _listening(port)
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        if _has_socket(process, sockets):
            with suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} ({process.name})"
    return _UNKNOWN


def _holder_by_lsof(port: int) -> str:
    """Ask lsof, which macOS has: it prints `p<pid>` and `c<name>`, each on a line."""
    command = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return _UNKNOWN
    found = re.search(r"^p(\d+)\nc(.+)$", listed.stdout, re.MULTILINE)
    return f"{found[2]} ({found[1]})" if found else _UNKNOWN


def can_tell_listeners() -> bool:
    """Return whether /proc tells who listens, and one port may have several listeners."""
    return sys.platform == "linux"


def is_listener(port: int, session: int) -> bool:
    """Return whether a process of a session listens on the port (Linux)."""
    sockets = _listening(port)
    return any(
        _has_socket(process, sockets)
        for process in (Path("/proc").glob("[0-9]*") if sockets else ())
        if _session(process) == session
    )


def _session(process: Path) -> int:
    try:
        # The name in parentheses may hold anything; after it come state, parent, group, session.
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, ValueError, IndexError):
        return 0


def _has_socket(process: Path, sockets: set[str]) -> bool:
    try:
        return any(os.readlink(one) in sockets for one in (process / "fd").iterdir())  # noqa: PTH115
    except OSError:
        return False


def _listening(port: int) -> set[str]:
    """Return the sockets that listen on the port, as links in /proc name them."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found
