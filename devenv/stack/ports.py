"""Which ports a stack takes: those it asks for, or the next free ones, and the same ones again."""

import socket
from collections.abc import Callable, Mapping

_TRIES = 200


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
