"""Cloud Run services as the server wires them: the API, `*.run.app`, and what the cloud sends out."""

import asyncio
import logging
from contextlib import suppress
from urllib.parse import urlsplit

from google.protobuf import field_mask_pb2

from devenv.gcp.caller import Guard
from devenv.gcp.config import CloudConfig, ServiceConfig
from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.forward.connection import Origin, Pool, buffered
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.messages import set_moment
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.run_jobs.resources import Pb, RunNames
from devenv.gcp.run_services.api import ServicesApi
from devenv.gcp.run_services.deployments import Deployments
from devenv.gcp.run_services.ingress import Ingress
from devenv.gcp.run_services.instances import InstanceContext
from devenv.gcp.run_services.invoker import Claims, Invoker
from devenv.gcp.run_services.overview import InstancesView
from devenv.gcp.run_services.records import READY, REVISION_PARTS, ServicesState, tell
from devenv.gcp.run_services.routing import DECLARED_TIMEOUT, Routes
from devenv.gcp.run_services.settings import ServiceMaker
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

log = logging.getLogger(__name__)
INVOKE = "run.invoke"
START_TIMEOUT = 120.0  # seconds for a service to start after this cloud, on a busy machine
_POLL_INTERVAL = 0.25


class RunServices(CloudService):
    """google.cloud.run.v2 Services and Revisions, and the front end that they share.

    `claims` reads ID tokens; `timeout` is the request timeout of declared services in seconds.
    """

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        guard: Guard,
        claims: Claims,
        context: InstanceContext,
        timeout: float = DECLARED_TIMEOUT,
    ) -> None:
        self._config = config
        self._clock = clock = context.clock
        self._guard = guard
        self._runtime = context.runtime
        self._names = RunNames(config)
        self._maker = ServiceMaker(config, context.sources.check_egress)
        self._state = state = ServicesState(store)
        routes = Routes(config, state, context, declared_timeout=timeout)
        self._deployments = Deployments(state, routes, context)
        self._api = ServicesApi(
            state,
            self._deployments,
            maker=self._maker,
            names=self._names,
            guard=guard,
            clock=clock,
        )
        self.instances = InstancesView(routes)
        self._hosts = {
            config.service_url(each.name).partition("//")[2]: each for each in config.services
        }
        self._started: set[str] = set()
        self._pool = Pool()
        invoker = Invoker(guard=guard, claims=claims)
        self._ingress = Ingress(hosts=routes.hosts, invoker=invoker, pool=self._pool)
        self.settled = self._deployments.settled

    def rpcs(self) -> tuple[Rpc, ...]:
        return self._api.rpcs()

    def mounts(self) -> tuple[HttpMount, ...]:
        hosts, app = ("*.run.app",), self._ingress
        return (
            HttpMount(hosts, app, method=lambda *_: INVOKE, methods=(INVOKE,), takes_rest=True),
        )

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        def find(resource: str) -> str:
            name = self._names.read("SERVICE", resource)
            if self._state.services.get(name.full) is None:
                raise name.missing()
            return name.full

        path = "{resource=projects/*/locations/*/services/*}"
        service, paths = "google.cloud.run.v2.Services", (f"/v2/{path}", f"/v1/{path}")
        return (PolicyKind(service, paths, "run.services", find, reading="GET"),)

    async def start(self) -> None:
        """Follow devenv.toml, and serve again what was deployed.

        A service that the file no longer declares is deleted. Instances are started anew, for the
        first request.
        """
        wanted = {self._name(each.name) for each in self._config.services}
        for name, _ in list(self._state.declared.scan()):
            if name not in wanted:
                self._drop(name)
        for declared in self._config.services:
            self._declare(declared)
        await self._runtime.open(set())
        self._deployments.resume()

    async def stop(self) -> None:
        self._pool.close()
        await self._deployments.stop()
        await self._runtime.close()

    async def ready(self, url: str) -> None:
        """Return when the service behind `url` has listened once, or START_TIMEOUT is over.

        Other URLs, and services that stop later, are not waited for.
        """
        host = urlsplit(url).hostname or ""
        service = self._hosts.get(host)
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

    def _name(self, service: str) -> str:
        return f"{self._names.location}/services/{service}"

    def _drop(self, name: str) -> None:
        log.info("Service %s is no longer in devenv.toml: deleted", name)
        if service := self._state.services.get(name):
            self._deployments.delete(service)
            self._guard.forget(name)
        self._state.declared.delete(name)

    def _declare(self, declared: ServiceConfig) -> None:
        """Create a declared service, or let it follow a changed declaration.

        Changes by callers stay until the declaration changes: a service that was deployed by API is
        no longer the declared process until then.
        """
        name, now = self._name(declared.name), self._clock.now()
        wording = f"{declared.name} {declared.account}".encode()
        service, given = self._state.services.get(name), self._maker.declared(declared)
        if service is not None and self._state.declared.get(name) == wording:
            return
        before: Pb | None = service
        if service is None:
            service = self._maker.create(given, name=name, creator="", now=now)
        else:
            everything = field_mask_pb2.FieldMask()
            service = self._maker.change(service, given, everything, modifier="", now=now)
        revision = self._maker.revision(service, before, (), now)
        if revision is not None:
            revision.reconciling = False
            tell(revision.conditions, REVISION_PARTS, READY, now=now)
            set_moment(revision.update_time, now)
            service.latest_created_revision = service.latest_ready_revision = revision.name
            self._state.revisions.put(revision)
        self._state.declared.put(name, wording)
        self._deployments.change(service, None)


async def _listens(service: ServiceConfig) -> bool:
    try:
        _, writer = await asyncio.open_connection(service.host, service.port)
    except OSError:
        return False
    writer.close()
    return True
