"""Where the emulated cloud listens, kept in a file so that a restart finds the same ports."""

import json
import logging
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What other programs need to know; `environ` and `metadata` are by short account name."""

    pid: int = 0
    plain: str = ""
    proxy: str = ""
    bundle: str = ""
    metadata: Mapping[str, int] = field(default_factory=dict)
    environ: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the file whole, so that nobody reads half of it."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(path)


def read(path: Path) -> Endpoints:
    """Return what was written there last; nothing if there is no such file, or it is broken."""
    try:
        return Endpoints(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Endpoints()


def port_of(url: str) -> int:
    """Return the port in `http://127.0.0.1:4588`, 0 for an empty text."""
    return int(url.rpartition(":")[2] or 0)


def listen(port: int) -> socket.socket:
    """Return a listening socket on the loopback: on `port` if it is free, else on any."""
    # asyncio turns Nagle's delay off only for sockets that say that they are TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, port))
    except OSError:
        log.warning("Port %d is taken; another one is used.", port)
        listening.bind((_LOOPBACK, 0))
    listening.listen(1024)
    listening.setblocking(False)
    return listening


def address(listening: socket.socket) -> str:
    """Return HOST:PORT of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"{host}:{port}"
