"""The router of HTTP requests: by Google's host name, else by path.

Services mount applications under host patterns and path prefixes. On the plain port, where clients
send no host of Google's, the prefix alone decides. Requests that no mount takes go to the REST
application. Each mounted request is one line of the log, with its caller and its duration, and each
answer gets a Date header, without which clients cannot cache it.
"""

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from fnmatch import fnmatchcase
from time import perf_counter

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devenv.gcp.rpc import HttpMount
from devenv.gcp.rpc.calls import record

HEALTH = "/_devenv/health"


class Router:
    """The ASGI application of all HTTP connections except those of the metadata server."""

    def __init__(
        self, mounts: Iterable[HttpMount], rest: ASGIApp, *, who: Callable[[str], str]
    ) -> None:
        """Name callers in the log by `who`, which reads an Authorization header."""
        self._mounts = tuple(mounts)
        self._rest = rest
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, authorization = _headers(scope)
        mount = self._find(host, scope["path"])
        if mount:
            await self._mounted(mount, host, authorization, scope, receive, send)
        elif scope["path"] == HEALTH:
            await JSONResponse({"status": "ok"})(scope, receive, send)
        else:
            await self._rest(scope, receive, _dated(send, lambda _: None))

    def _find(self, host: str, path: str) -> HttpMount | None:
        here = [m for m in self._mounts if any(fnmatchcase(host, p) for p in m.hosts)]
        by_path = [m for m in here or self._mounts if path.startswith(m.paths or ("//",))]
        return next(iter(by_path or here), None)

    async def _mounted(
        self,
        mount: HttpMount,
        host: str,
        authorization: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        start, status = perf_counter(), "-"

        def answered(code: int) -> None:
            nonlocal status
            status = str(code)

        try:
            await mount.app(scope, receive, _dated(send, answered))
        finally:
            record(
                host.partition(".")[0],
                f"{scope['method']} {scope['path'][:200]}",
                caller=self._who(authorization),
                status=status,
                start=start,
            )


def _headers(scope: Scope) -> tuple[str, str]:
    host = authorization = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"authorization":
            authorization = value
    return host.decode("latin-1").partition(":")[0].lower(), authorization.decode("latin-1")


def _dated(send: Send, answered: Callable[[int], None]) -> Send:
    """Return a `send` that adds the Date header and reports the status to `answered`."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered(message["status"])
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"date" for name, _ in headers):
                headers.append((b"date", formatdate(time.time(), usegmt=True).encode()))
            message = {**message, "headers": headers}
        await send(message)

    return dated
