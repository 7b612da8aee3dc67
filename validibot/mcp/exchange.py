"""The exchange of one message with the official package, which is an ASGI application."""

import asyncio
from collections.abc import MutableMapping
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from validibot.mcp.api_calls import ToolCaller
from validibot.mcp.tools import caller, make_server

_server = cache(make_server)


async def exchange(request: HttpRequest, content: bytes, user_id: int) -> HttpResponse:
    """Return the answer to the message `content`, which came with `request`."""
    caller.set(ToolCaller.of(request, user_id))
    server: MCPServer[Any] = _server()
    manager = StreamableHTTPSessionManager(
        server._lowlevel_server,  # noqa: SLF001 - the package's own way keeps one manager for all
        json_response=True,
        stateless=True,
        max_request_body_size=max(1, len(content)),  # the view has bounded it
    )
    wire = _Wire(content)
    async with manager.run():
        await manager.handle_request(_scope(request), wire.receive, wire.send)
    return wire.response()


def _scope(request: HttpRequest) -> MutableMapping[str, Any]:
    """Return the ASGI scope of the message."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers.items()
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }


class _Wire:
    """The two ends of an ASGI request whose body is known and whose answer is short."""

    def __init__(self, content: bytes) -> None:
        self._messages = [{"type": "http.request", "body": content, "more_body": False}]
        self._start: MutableMapping[str, Any] = {"status": 202, "headers": []}
        self._body = b""

    async def receive(self) -> MutableMapping[str, Any]:
        if not self._messages:
            await asyncio.Event().wait()  # the client stays until it has the answer
        return dict(self._messages.pop())

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")

    def response(self) -> HttpResponse:
        answer = HttpResponse(self._body, status=self._start["status"])
        del answer.headers["Content-Type"]
        for name, value in self._start["headers"]:
            if name.lower() != b"content-length":
                answer.headers[name.decode("latin-1")] = value.decode("latin-1")
        return answer
