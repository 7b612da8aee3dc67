"""Checks of Host and Origin, which keep pages of other sites away from servers on this machine.

A page of another site can reach a server on localhost: by a form or a script (its Origin tells), or
by a name of its own that resolves to this machine (DNS rebinding; the Host tells).
"""

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


@lru_cache(maxsize=256)  # clients ask for few hosts, at each request
def is_local(host: str) -> bool:
    """Return whether a host name or address is this machine by definition."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def refusal(headers: Mapping[str, str], hosts: Iterable[str] = ()) -> str:
    """Return why a request is refused, empty if it is not. `hosts` are more names of this machine.

    A request without an Origin comes from a program, or is a plain navigation.
    """
    names = set(hosts)
    host = host_of(f"//{headers.get('host', '')}")
    if not (is_local(host) or host in names):
        return f"The Host {host[:100]!r} is not this machine."
    origin = headers.get("origin", "")
    if origin and not (is_local(host_of(origin)) or host_of(origin) in names):
        return f"The Origin {origin[:100]!r} is not a page of this machine."
    return ""


@lru_cache(maxsize=256)
def host_of(url: str) -> str:
    """Return the host of a URL, empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class LocalOnly:
    """Middleware that answers 403 to requests of other sites."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := refusal(Headers(scope=scope), self._hosts)):
            await PlainTextResponse(f"{reason}\n", status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)
