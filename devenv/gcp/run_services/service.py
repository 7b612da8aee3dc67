"""Cloud Run services as the server wires them: `*.run.app`, and what the cloud itself sends out."""

import asyncio
from urllib.parse import urlsplit

from devenv.gcp.caller import Guard
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.forward.connection import Origin, Pool, buffered
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.run_services.ingress import Ingress
from devenv.gcp.run_services.invoker import Claims, Invoker

REQUEST_TIMEOUT = 300.0


class RunServices:
    """`claims` reads ID tokens; `timeout` is Cloud Run's request timeout in seconds."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        guard: Guard,
        claims: Claims,
        timeout: float = REQUEST_TIMEOUT,
        strip_signature: bool = False,
    ) -> None:
        hosts = {config.service_url(each.name).partition("//")[2]: each for each in config.services}
        invoker = Invoker(
            config=config, guard=guard, claims=claims, strip_signature=strip_signature
        )
        self._pool = Pool()
        self._ingress = Ingress(services=hosts, invoker=invoker, pool=self._pool, timeout=timeout)

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[HttpMount, ...]:
        return (HttpMount(hosts=("*.run.app",), app=self._ingress),)

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        self._pool.close()

    async def send(self, request: DeliveryRequest) -> DeliveryAnswer:
        """Send a request of the cloud itself (a `Send`); services are reached in this process.

        Raises NoAnswer, or TimeoutError after the request's deadline.
        """
        parts = urlsplit(request.url)
        async with asyncio.timeout(request.deadline):
            if (parts.hostname or "").endswith(".run.app"):
                return await self._ingress.answer(request)
            host = parts.netloc.rpartition("@")[2]
            headers = [
                (b"host", host.encode()),
                *((name.encode(), value.encode()) for name, value in request.headers.items()),
            ]
            return await buffered(self._pool, Origin.of(request.url), request, headers)
