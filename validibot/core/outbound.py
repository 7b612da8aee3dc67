"""Requests to addresses that users chose: to public addresses only, and for a limited time.

The address is checked after its name was resolved, on the connection itself, and redirects are not
followed (requests-hardened), so that nobody can reach our own network through such an address.
"""

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings

from validibot.core.echo import echo

if TYPE_CHECKING:
    import requests
    from requests_hardened import HTTPSession
    from urllib3 import PoolManager

CONNECT_SECONDS, READ_SECONDS = 5, 15


class AddressRefused(ValueError):
    """An address cannot be used; the message says why."""


def check_address(url: str) -> None:
    """Raise AddressRefused unless `url` is one that requests may go to.

    Where its name leads is checked for each request.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise AddressRefused(f"{echo(url)} cannot be read: {error}.") from None
    schemes = ("https", "http") if settings.WEBHOOKS_MAY_BE_LOCAL else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        raise AddressRefused(f"{echo(url)} must be an address that begins with https://.")
    if parts.username or parts.password:
        raise AddressRefused("The address must not contain a user name or password.")


def open_session() -> "HTTPSession":
    """Return a session that reaches public addresses only and follows no redirect.

    A request to a private address raises `requests_hardened.ip_filter.InvalidIPAddress`.
    """
    # Imported late: they take a tenth of the start of each process, and few send such requests.
    from requests_hardened import Config, HTTPSession  # noqa: PLC0415

    session = HTTPSession(
        Config(
            ip_filter_enable=not settings.WEBHOOKS_MAY_BE_LOCAL,
            ip_filter_allow_loopback_ips=False,
            never_redirect=True,
            default_timeout=(CONNECT_SECONDS, READ_SECONDS),
        )
    )
    session.trust_env = False  # a proxy would resolve the name again, unchecked
    return session


class Deadline:
    """A context in which the connections of a session are ended after `seconds`.

    READ_SECONDS begin again with each byte, so they alone bound nothing.
    """

    def __init__(self, session: "requests.Session", seconds: float) -> None:
        self.has_passed = False
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True
        # Duplicates: TLS takes the sockets themselves over.
        self._opened: list[socket.socket] = []
        for adapter in session.adapters.values():
            manager: PoolManager = adapter.poolmanager  # type: ignore[attr-defined]
            manager.pool_classes_by_scheme = {
                scheme: self._watched(pool)
                for scheme, pool in manager.pool_classes_by_scheme.items()
            }

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        for each in self._opened:
            each.close()

    def _pass(self) -> None:
        self.has_passed = True
        self._shut_down()

    def _shut_down(self) -> None:
        for each in self._opened:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _watched(self, pool: Any) -> Any:
        """Return a subclass of a class of pools whose connections are noted."""
        opened = self._opened

        def connect(connection: Any) -> socket.socket:
            made: socket.socket = pool.ConnectionCls._new_conn(connection)  # noqa: SLF001
            opened.append(made.dup())
            if self.has_passed:  # while the name was resolved: nobody else ends this one
                self._shut_down()
            return made

        watched = type("Watched", (pool.ConnectionCls,), {"_new_conn": connect})
        return type("WatchedPool", (pool,), {"ConnectionCls": watched})
