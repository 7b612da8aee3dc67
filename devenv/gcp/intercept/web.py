"""An HTTP/1.1 server whose connections are handed to it, in clear text or to be wrapped in TLS.

It is uvicorn without its own sockets: the doors accept connections and decide who serves them.
Connections are kept longer than any client keeps them, so that none is closed under a request.
"""

import asyncio
import socket
import ssl
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_KEEP_ALIVE = 620
_HANDSHAKE = 10.0
_GRACE = 0.2
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class _Prompt(HttpToolsProtocol):
    """A protocol that acknowledges received bytes at once.

    urllib3 leaves Nagle's algorithm on when it talks to a proxy, so a request's body waits until
    its head is acknowledged; the system would let it wait 40 ms.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class AsgiServer:
    """The HTTP/1.1 server of one application."""

    def __init__(self, app: ASGIApp, *, reuse: bool = True) -> None:
        """Close each connection after one answer unless `reuse`."""
        self._config = uvicorn.Config(
            app,
            http=_Prompt if _QUICKACK else HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._config.load()
        self._state = ServerState()
        if not reuse:
            self._state.default_headers = [(b"connection", b"close")]

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return self._config.http_protocol_class(  # type: ignore[call-arg]
            config=self._config, server_state=self._state, app_state={}
        )

    async def adopt(self, client: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve `client`. Raises OSError (ssl.SSLError is one) when the handshake fails."""
        await asyncio.get_running_loop().connect_accepted_socket(
            self.protocol,
            client,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE if tls else None,
        )

    async def stop(self) -> None:
        """Close every connection, after a moment for answers in progress."""
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_GRACE)
        for connection in list(self._state.connections):
            connection.transport.abort()
