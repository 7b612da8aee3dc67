"""The way from the gate to the worker: on this machine, over connections that are kept."""

import asyncio

from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.forward.connection import Origin, Pool, buffered


class Worker:
    """Calls the worker that listens on `port` of the loopback interface."""

    def __init__(self, port: int) -> None:
        self._origin = Origin("127.0.0.1", port)
        self._pool = Pool()

    async def __call__(self, request: DeliveryRequest) -> DeliveryAnswer:
        """Raises NoAnswer, or TimeoutError after the request's deadline."""
        headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in request.headers.items()]
        async with asyncio.timeout(request.deadline):
            return await buffered(self._pool, self._origin, request, headers)

    def close(self) -> None:
        self._pool.close()
