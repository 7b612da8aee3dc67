"""Hosts as the proxy judges them: emulated, reached as they are, or refused.

Emulated are Google's API hosts, the hosts of Cloud Run services, and the host of account tokens.
This machine itself and the hosts of `gcp.allow_hosts` are reached as they are. All others are
refused with a line that says how to allow them, so that nothing is sent out by accident.
"""

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase

_EMULATED = ("*.googleapis.com", "*.run.app", "accounts.google.com")


def certified(region: str) -> tuple[str, ...]:
    """Return the host names in the emulator's certificate."""
    # A wildcard stands for one label, so each further label needs its own entry.
    return (
        "*.googleapis.com",
        "*.storage.googleapis.com",
        "*.run.app",
        "*.a.run.app",
        f"*.{region}.run.app",
        "accounts.google.com",
        "localhost",
        "*.localhost",
    )


class Hosts:
    """The rules for hosts that clients ask the proxy for."""

    def __init__(self, allowed: Iterable[str], *, loopback: bool = True) -> None:
        """Let clients reach this machine's own services if `loopback`."""
        self._loopback = loopback
        self._allowed = tuple(pattern.lower() for pattern in allowed)

    def emulated(self, host: str) -> bool:
        return _matches(host, _EMULATED)

    def passed(self, host: str) -> bool:
        """Return whether `host` is reached as it is: this machine, or an allowed host."""
        return (self._loopback and _loopback(host)) or _matches(host, self._allowed)

    def refusal(self, host: str) -> str:
        """Return one line that says why `host` is refused and how to allow it."""
        return (
            f"{host} is not emulated, and nothing leaves this machine; "
            f'to let it through put "{host}" in gcp.allow_hosts of devenv.toml'
        )


def _matches(host: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(host.lower(), pattern) for pattern in patterns)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
