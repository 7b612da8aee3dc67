"""The server of the emulated cloud: its services, and the ports on which they answer.

All services share one event loop, one SQLite file and one clock. The plain port and the proxy lead
to a router, which finds the service of an HTTP request by Google's host name or by path, and to a
gRPC server; each account has a metadata port of its own, by which its requests are known. A start
resumes the services before it accepts connections, and writes `endpoints.json` last, so that
whoever finds that file finds a cloud that answers. A stop goes the other way round.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from containers import ContainerEngine, NetworkPeer
from devenv.gcp.artifact_registry import ArtifactRegistryService
from devenv.gcp.clock import Clock, SystemClock
from devenv.gcp.config import HERE, LOOPBACK, CloudConfig, CloudPlace
from devenv.gcp.control import ControlApi, control_token
from devenv.gcp.faults import Faults
from devenv.gcp.iam.custom_roles import RolesApi
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies
from devenv.gcp.iam.policy_methods import PolicyKind, PolicyMethods, own_policy_kinds
from devenv.gcp.iam.usage import IamUsage
from devenv.gcp.identity import certificates, exchange
from devenv.gcp.identity.accounts_api import AccountsApi
from devenv.gcp.identity.credentials import CredentialsApi
from devenv.gcp.identity.identity import Identity, bearer
from devenv.gcp.intercept import authority
from devenv.gcp.intercept.doors import AsgiServer, Handler, PlainDoor, ProxyDoor, SocketListener
from devenv.gcp.intercept.endpoints import Endpoints, port
from devenv.gcp.intercept.outgoing import DELIVER, OutgoingRequests
from devenv.gcp.intercept.ports import Ports
from devenv.gcp.intercept.router import Hosts, Router, SiteCheck, certified
from devenv.gcp.journal import OPERATOR, Journal
from devenv.gcp.locations import location_rpcs
from devenv.gcp.metadata import MetadataServer
from devenv.gcp.projects import ResourceManagerApi, ServiceUsageApi
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.rpc.calls import Calls, GrpcServer, method_id
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.run_jobs.runtimes.base import JobsRuntime
from devenv.gcp.run_jobs.runtimes.docker import BUNDLE, DockerRuntime, engine_of, gateway_of
from devenv.gcp.run_jobs.runtimes.process import ProcessRuntime
from devenv.gcp.run_jobs.service import RunJobsService
from devenv.gcp.run_services.instances import InstanceContext
from devenv.gcp.run_services.service import RunServices
from devenv.gcp.run_v1.api import RunV1Api
from devenv.gcp.scheduler.service import SchedulerService
from devenv.gcp.secret_manager.service import SecretManagerService
from devenv.gcp.storage.service import StorageService
from devenv.gcp.storage_elsewhere import StorageElsewhere
from devenv.gcp.store import Store
from devenv.gcp.tasks.service import TasksService


class CloudService(Protocol):
    """An emulated service, as the server uses it."""

    def rpcs(self) -> Iterable[Rpc]: ...
    def mounts(self) -> tuple[HttpMount, ...]: ...
    def policy_kinds(self) -> tuple[PolicyKind, ...]: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class CloudServer:
    """The emulated cloud inside a running event loop; all state is below `data`."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        data: Path,
        project: Path = Path(),
        clock: Clock | None = None,
        roots: Path | None = None,
        place: CloudPlace = HERE,
    ) -> None:
        """Run jobs in the folder `project`, if they are processes; trust `roots` besides our CA."""
        data.mkdir(parents=True, exist_ok=True)
        self._config = config
        self._data = data.resolve()
        self._project = project
        self._place = place
        label = place.label or place.network
        self._engine = engine_of(self._data, label) if place.jobs == "docker" else None
        self._clock = clock or SystemClock()
        self._hosts = Hosts(config.allow_hosts)
        self._store = Store(self._data / "state.sqlite3")
        self._identity = Identity(
            config=config,
            folder=self._data / "keys",
            clock=self._clock,
            store=self._store,
            operator=self.control_token,
        )
        self._journal = Journal(self._data / "journal.sqlite3", self._clock)
        self._faults = Faults(self._store, self._clock)
        self._policies = Policies(config, self._store, is_account=self._identity.knows)
        self._iam = Iam(config, self._policies, self._clock)
        self._authority = authority.prepare(
            self._data / "tls", names=certified(config.region), roots=roots
        )
        self._ports = self._open_ports()
        secrets = SecretManagerService(
            config=config, store=self._store, clock=self._clock, guard=self._iam
        )
        self._run_services = self._make_run_services(secrets)
        self._services = (self._run_services, *self._make_services(secrets))
        self._webs: list[AsgiServer] = []

    async def start(self) -> None:
        """Resume every service, accept connections, then write `endpoints.json`."""
        for service in self._services:
            await service.start()
        rpcs = (
            *(rpc for service in self._services for rpc in service.rpcs()),
            *self._policy_rpcs(),
            *location_rpcs(self._config),
            *self._own_rpcs(),
        )
        mounts = tuple(mount for service in self._services for mount in service.mounts())
        calls = Calls(self._identity, self._journal, self._faults)
        mounts = (*mounts, *self._own_mounts())
        methods = (name for mount in mounts for name in mount.methods)
        self._faults.know({DELIVER, *methods, *(method_id(rpc.method) for rpc in rpcs)})
        self._grpc = GrpcServer(rpcs, calls)
        await self._grpc.start(
            key=self._authority.key.read_bytes(), chain=self._authority.chain.read_bytes()
        )
        router = Router(
            mounts,
            RestApp(rpcs, calls),
            control=self._control(),
            journal=self._journal,
            faults=self._faults,
            who=self._who,
        )
        self._open_doors(SiteCheck(router, emulated=self._hosts.emulated, names=self._names()))

    async def stop(self) -> None:
        """Stop accepting connections, finish the answers in progress, stop the services."""
        await self._ports.stop()
        for web in self._webs:
            await web.stop()
        self._plain.pipes.close()
        await self._grpc.stop()
        for service in reversed(self._services):
            await service.stop()
        self._journal.close()
        self._store.close()

    def reload(self) -> None:
        """Have the code of jobs imported anew by the processes that wait with it."""
        if isinstance(self._runtime, ProcessRuntime):
            self._runtime.reload()

    @property
    def endpoints(self) -> Endpoints:
        """The addresses of this cloud, and the variables of its accounts."""
        return self._ports.endpoints

    @property
    def control_token(self) -> str:
        """The token of the control API."""
        return control_token(self._data)

    def access_token(self, account: str) -> str:
        """Return an OAuth access token of an account (short name or email)."""
        return self._identity.access_token(self._identity.account(account).email)

    def environ(self, account: str) -> dict[str, str]:
        """Return the variables of a process that is `account` (short name or email)."""
        return dict(self.endpoints.environ[self._identity.account(account).name])

    def _open_ports(self) -> Ports:
        ports = Ports(
            self._data,
            project=self._config.project,
            place=self._place,
            bundle=self._authority.bundle,
            gateway=self._gateway,
        )
        for account in self._identity.accounts:
            ports.open(account.name, account.email)
        return ports

    def _make_run_services(self, secrets: SecretManagerService) -> RunServices:
        return RunServices(
            config=self._config,
            store=self._store,
            guard=self._iam,
            claims=self._identity.claims,
            context=InstanceContext(
                runtime=self._instances,
                clock=self._clock,
                read_secret=secrets.value,
                idle=self._config.instances_idle,
                cold_start=self._config.cold_start,
            ),
        )

    def _make_services(self, secrets: SecretManagerService) -> tuple[CloudService, ...]:
        config, store, clock, guard = self._config, self._store, self._clock, self._iam
        send = OutgoingRequests(
            hosts=self._hosts,
            journal=self._journal,
            faults=self._faults,
            who=self._who,
            send=self._run_services.send,
            here=f"{LOOPBACK}:{port(self._ports.plain)}",
        ).deliver
        self._jobs = RunJobsService(
            config=config,
            store=store,
            clock=clock,
            guard=guard,
            runtime=self._runtime,
            read_secret=secrets.value,
        )
        self._jobs.settled.append(self._run_services.settled)
        self._tasks = TasksService(
            config=config,
            store=store,
            clock=clock,
            guard=guard,
            minter=self._identity,
            send=send,
        )
        return (
            self._tasks,
            SchedulerService(
                config=config,
                store=store,
                clock=clock,
                guard=guard,
                minter=self._identity,
                send=send,
                ready=self._run_services.ready,
            ),
            self._jobs,
            secrets,
            ArtifactRegistryService(config=config, store=store, clock=clock, guard=guard),
            self._storage(),
        )

    def _own_rpcs(self) -> Iterator[Rpc]:
        """Yield the methods about the project and its accounts, which no service of its own has."""
        config, guard, identity = self._config, self._iam, self._identity
        yield from CredentialsApi(
            project=config.project, identity=identity, guard=guard, clock=self._clock
        ).rpcs()
        yield from AccountsApi(
            config=config,
            identity=identity,
            guard=guard,
            members=self._policies,
            opened=lambda account: self._ports.open(account.name, account.email),
            closed=lambda account: self._ports.close(account.name),
        ).rpcs()
        yield from RolesApi(config, self._policies.roles, guard, self._clock).rpcs()
        yield from ResourceManagerApi(config, guard).rpcs()
        yield from ServiceUsageApi(config, guard, self._store).rpcs()
        run = (self._run_services, self._jobs)
        yield from RunV1Api(config, (rpc for service in run for rpc in service.rpcs())).rpcs()

    def _policy_rpcs(self) -> Iterator[Rpc]:
        methods = PolicyMethods(self._policies, self._iam)
        kinds = (kind for service in self._services for kind in service.policy_kinds())
        for kind in (*kinds, *own_policy_kinds(self._config, self._identity.knows)):
            yield from methods.rpcs(kind)

    def _storage(self) -> CloudService:
        if self._config.storage:
            return StorageElsewhere(self._config)
        return StorageService(
            config=self._config,
            store=self._store,
            clock=self._clock,
            guard=self._iam,
            policies=self._policies,
            data=self._data / "objects",
            authenticator=self._identity,
            verifier=self._identity,
        )

    @cached_property
    def _runtime(self) -> JobsRuntime:
        """The runtime of jobs."""
        return self._runtime_in(self._data, self._engine)

    @cached_property
    def _instances(self) -> JobsRuntime:
        """The runtime of services, which knows nothing of the jobs': each ends only its own."""
        label, data = f"{self._place.label or self._place.network} services", self._data
        engine = engine_of(data, label) if self._engine else None
        return self._runtime_in(data / "services", engine)

    def _runtime_in(self, data: Path, engine: ContainerEngine | None) -> JobsRuntime:
        if engine is not None:
            place = self._place
            peer = NetworkPeer(place.container, place.container_host) if place.container else None
            return DockerRuntime(
                engine,
                environ=self._environ_of_job,
                bundle=self._authority.bundle,
                data=data,
                network=place.network,
                peer=peer,
            )
        return ProcessRuntime(
            images=self._config.images, environ=self.environ, data=data, project=self._project
        )

    def _control(self) -> ControlApi:
        emails = [account.email for account in self._identity.accounts]
        usage = IamUsage(self._config, self._journal, self._policies, emails)
        return ControlApi(
            self._journal,
            self._faults,
            token=self.control_token,
            hosts=self._names(),
            views={
                "executions": self._jobs.executions_of,
                "permissions": usage.permissions,
                "project": usage.project,
                "queues": self._tasks.overview,
            },
        )

    def _names(self) -> set[str]:
        """Return the names by which this cloud is reached besides localhost."""
        return {self._place.host, self._place.container_host, self._gateway} - {""}

    def _own_mounts(self) -> tuple[HttpMount, ...]:
        return (*certificates.mounts(self._identity), *exchange.mounts(self._identity))

    def _open_doors(self, router: SiteCheck) -> None:
        self._plain = plain = PlainDoor(
            web=self._web(router),
            tls=self._authority.context(),
            grpc_port=self._grpc.plain_port,
            grpc_tls_port=self._grpc.tls_port,
        )
        forward, hosts = self._web(router, reuse=False), self._hosts
        closed = Hosts(self._config.allow_hosts, loopback=False)
        proxy = ProxyDoor(
            hosts=closed if self._place.is_container else hosts, plain=plain, forward=forward
        )
        metadata = self._web(self._metadata_server())
        doors: list[tuple[Any, Handler]] = [
            (self._ports.plain, plain.handle),
            (self._ports.proxy, proxy.handle),
        ]
        if jobs := self._ports.jobs:
            proxy = ProxyDoor(hosts=closed, plain=plain, forward=forward)
            doors += [(jobs["metadata"], metadata.adopt), (jobs["proxy"], proxy.handle)]
        listeners = [SocketListener(listening, handle) for listening, handle in doors]
        self._ports.serve(metadata.adopt, listeners)

    def _metadata_server(self) -> MetadataServer:
        runtimes = (self._runtime, self._instances)
        containers = [each for each in runtimes if isinstance(each, DockerRuntime)]

        async def find(address: str) -> str | None:
            found = [await each.account_at(address) for each in containers]
            return next(filter(None, found), None)

        return MetadataServer(
            self._config, self._identity, self._ports.emails, find, hosts=self._names()
        )

    def _web(self, app: Any, *, reuse: bool = True) -> AsgiServer:
        web = AsgiServer(app, reuse=reuse)
        self._webs.append(web)
        return web

    def _environ_of_job(self, account: str) -> dict[str, str]:
        """Return the variables of a container that is `account`. Raises NotFound."""
        return self._ports.environ_of_job(self._identity.account(account).name, BUNDLE)

    @cached_property
    def _gateway(self) -> str:
        """Return our address in the network of jobs, if they are containers and we are not."""
        if self._engine is None or self._place.is_container:
            return ""
        return gateway_of(self._engine, self._place.network)

    def _who(self, authorization: str) -> str:
        """Return the account of an Authorization header with an access token or an ID token."""
        token = bearer({"authorization": authorization})
        if self._identity.is_operator(token):
            return OPERATOR
        if grant := self._identity.grant(token):
            return grant.caller.email
        return str((self._identity.claims(token) or {}).get("email", ""))
