"""Which hosts are emulated, which may be reached as they are, and what is said of the others."""

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase

_EMULATED = ("*.googleapis.com", "*.run.app", "accounts.google.com")


def certified(region: str) -> tuple[str, ...]:
    """Return the names for which the emulator's certificate vouches."""
    # A wildcard stands for one label, so every further dot needs an entry of its own.
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
    """Judges the hosts that clients want to reach through the proxy."""

    def __init__(self, allowed: Iterable[str], *, loopback: bool = True) -> None:
        """`loopback` says whether clients may reach this machine's own services."""
        self._loopback = loopback
        self._allowed = tuple(pattern.lower() for pattern in allowed)

    def emulated(self, host: str) -> bool:
        return _matches(host, _EMULATED)

    def passed(self, host: str) -> bool:
        """Return whether `host` is reached as it is: this machine itself, or one let through."""
        return (self._loopback and _loopback(host)) or _matches(host, self._allowed)

    def refusal(self, host: str) -> str:
        """Return one line that says what to do about `host`."""
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
