"""Checks of Host and Origin, which keep pages of other sites away from servers on this machine.

A page of another site can reach a server on localhost: by a form or a script (its Origin tells), or
by a name of its own that resolves to this machine (DNS rebinding; the Host tells).
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# An address in brackets or a name, then a port. `localhost@evil`, `localhost:80.evil.example` and
# `localhost/x` are neither: what reads them as local may disagree with what sends them.
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_LAST_PORT = 65_535


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
    given = headers.get("host", "")
    host = host_of(f"//{given}")
    if not (is_local(host) or host in names):
        return f"The Host {given[:100]!r} is not this machine."
    origin = headers.get("origin", "")
    if origin and not (is_local(host_of(origin)) or host_of(origin) in names):
        return f"The Origin {origin[:100]!r} is not a page of this machine."
    return ""


@lru_cache(maxsize=256)
def host_of(url: str) -> str:
    """Return the host of an origin, or of `//` and a Host header; empty if it is not well formed."""
    found = _HOST.fullmatch(url)
    if found is None or int(found[3] or 0) > _LAST_PORT:
        return ""
    return (found[1] or found[2]).lower()


class LocalOnly:
    """Middleware that answers 403 to requests of other sites."""

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._reason(Headers(scope=scope))):
            await PlainTextResponse(f"{reason}\n", status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _reason(self, headers: Headers) -> str:
        if len(headers.getlist("host")) > 1:
            return "The request has more than one Host."
        return refusal(headers, self._hosts)
