"""Ask an ASGI application without a socket."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


class Web:
    """A client of `app` at the address `client`; `headers` go with every request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        base: str = "http://test",
        headers: dict[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> None:
        self._client = client
        self._app = app
        self._base = base
        self.headers = headers or {}

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask(method, path, options))

    async def _ask(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=(self._client, 123))
        async with httpx.AsyncClient(
            transport=transport, base_url=self._base, headers=self.headers
        ) as client:
            return await client.request(method, path, **options)
