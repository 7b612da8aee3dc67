"""Where the emulated cloud listens, kept in a file so that a restart finds the same ports."""

import json
import logging
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"
_BACKLOG = 1024


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


class Sockets:
    """Every listening socket, on its port of the last time if that is still free."""

    def __init__(self, before: Endpoints, accounts: Iterable[str], *, plain_port: int = 0) -> None:
        """A `plain_port` other than 0 wins over the last one."""
        self.plain = _listen(plain_port or _port(before.plain))
        self.proxy = _listen(_port(before.proxy))
        self.metadata = {name: _listen(before.metadata.get(name, 0)) for name in accounts}


def url(listening: socket.socket) -> str:
    """Return where `listening` is reached."""
    return f"http://{_LOOPBACK}:{port(listening)}"


def port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _port(address: str) -> int:
    return int(address.rpartition(":")[2] or 0)


def _listen(wanted: int) -> socket.socket:
    # asyncio turns Nagle's delay off only for sockets that say that they are TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_LOOPBACK, wanted))
    except OSError:
        log.warning("Port %d is taken; another one is used.", wanted)
        listening.bind((_LOOPBACK, 0))
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening
