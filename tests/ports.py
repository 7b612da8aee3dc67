"""Free ports for the servers of tests, and in place of the usual ones in a devenv.toml.

A port that the kernel names is free for a moment only: before its server has started, a connection of
any process may get it as its own end, and another test as its server's. So these come from a range from
which no kernel gives any, and in turn, whatever process or checkout asks.
"""

import _socket
import fcntl
import os
import re
import tempfile
from itertools import count
from pathlib import Path

_PORT = re.compile(r"^([a-z_]+ = )(\d{4})$", re.MULTILINE)
_FIRST, _COUNT = 20_000, 12_000


def on_free_ports(text: str) -> str:
    """Replace the ports of devenv.toml, which the stacks of other tests may use, by free ones."""
    free = free_ports(text)
    return _PORT.sub(lambda found: found[1] + free[found[2]], text)


def free_ports(text: str) -> dict[str, str]:
    """Return a free port for each port of a devenv.toml."""
    return {usual: str(free_port()) for usual in {found[2] for found in _PORT.finditer(text)}}


def free_port(*, successors: int = 0) -> int:
    """Return a port that is free on all addresses, as some of its successors are."""
    with (Path(tempfile.gettempdir()) / f"validibot-test-ports-{os.getuid()}").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        for at in count(int(file.read() or 0)):
            port = _FIRST + at % (_COUNT - successors)
            if all(map(_is_free, range(port, port + successors + 1))):
                file.truncate(0)
                file.write(str(at + successors + 1))
                return port
    raise AssertionError("unreachable")


def _is_free(port: int) -> bool:
    # The raw socket: the class above it is shut while a unit test asks for the database.
    probe = _socket.socket()
    try:
        probe.bind(("", port))
    except OSError:
        return False
    finally:
        probe.close()
    return True
