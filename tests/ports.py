"""Free ports in place of the usual ones in a devenv.toml."""

import re
import socket

_PORT = re.compile(r"^([a-z_]+ = )(\d{4})$", re.MULTILINE)


def on_free_ports(text: str) -> str:
    """Replace the ports of devenv.toml, which the stacks of other tests may use, by free ones."""
    free = free_ports(text)
    return _PORT.sub(lambda found: found[1] + free[found[2]], text)


def free_ports(text: str) -> dict[str, str]:
    """Return a free port for each port of a devenv.toml."""
    usual = {found[2] for found in _PORT.finditer(text)}
    sockets = {port: socket.create_server(("127.0.0.1", 0)) for port in usual}
    free = {port: str(held.getsockname()[1]) for port, held in sockets.items()}
    for held in sockets.values():
        held.close()
    return free
