"""Cloud Run services as the server wires them: `*.run.app`, and what the cloud itself sends out."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

from devenv.gcp.caller import Guard
from devenv.gcp.config import CloudConfig, ServiceConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.errors import NotFound
from devenv.gcp.forward.connection import Origin, Pool, buffered
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.run_services.ingress import Ingress
from devenv.gcp.run_services.invoker import Claims, Invoker

INVOKE = "run.invoke"
REQUEST_TIMEOUT = 300.0
START_TIMEOUT = 120.0  # seconds for a service to start after this cloud, on a busy machine
_POLL_INTERVAL = 0.25


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
        self._config = config
        self._services = hosts
        self._started: set[str] = set()
        self._pool = Pool()
        self._ingress = Ingress(services=hosts, invoker=invoker, pool=self._pool, timeout=timeout)

    def rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def mounts(self) -> tuple[HttpMount, ...]:
        return (
            HttpMount(("*.run.app",), self._ingress, method=lambda *_: INVOKE, methods=(INVOKE,)),
        )

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        place = f"projects/{self._config.project}/locations/{self._config.region}/services"
        known = {f"{place}/{each.name}" for each in self._config.services}

        def find(resource: str) -> str:
            if resource not in known:
                raise NotFound(f"Resource '{resource.rpartition('/')[2][:100]}' does not exist.")
            return resource

        path = "/v2/{resource=projects/*/locations/*/services/*}"
        service = "google.cloud.run.v2.Services"
        return (PolicyKind(service, (path,), "run.services", find, reading="GET"),)

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        self._pool.close()

    async def ready(self, url: str) -> None:
        """Return when the service behind `url` has listened once, or START_TIMEOUT is over.

        Other URLs, and services that stop later, are not waited for.
        """
        host = urlsplit(url).hostname or ""
        service = self._services.get(host)
        if service is None or host in self._started:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT):
                while not await _listens(service):  # noqa: ASYNC110 - another process opens it
                    await asyncio.sleep(_POLL_INTERVAL)
        self._started.add(host)

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


async def _listens(service: ServiceConfig) -> bool:
    try:
        _, writer = await asyncio.open_connection(service.host, service.port)
    except OSError:
        return False
    writer.close()
    return True
