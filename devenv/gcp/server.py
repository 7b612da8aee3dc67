"""The server of the emulated cloud: the ports on which its services answer.

All services share one event loop, one SQLite file and one clock. The plain port and the proxy lead
to a router, which finds the service of an HTTP request by Google's host name or by path, and to a
gRPC server; each account has a metadata port of its own, by which its requests are known. A start
resumes the services before it accepts connections, and writes `endpoints.json` last, so that
whoever finds that file finds a cloud that answers. A stop goes the other way round.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devenv.gcp.assembly import CloudServices
from devenv.gcp.config import HERE, CloudConfig, CloudPlace
from devenv.gcp.control import ControlAccess, ControlApi, control_token
from devenv.gcp.fault_matchers import ANY, HTTP_FORMS, OWN_FORMS
from devenv.gcp.faults import Faults
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies
from devenv.gcp.identity.identity import Identity
from devenv.gcp.intercept import authority
from devenv.gcp.intercept.doors import Handler, PlainDoor, ProxyDoor, SocketListener
from devenv.gcp.intercept.endpoints import Endpoints
from devenv.gcp.intercept.ports import Ports
from devenv.gcp.intercept.router import Hosts, Router, SiteCheck, certified
from devenv.gcp.intercept.web import AsgiServer
from devenv.gcp.journal import Journal
from devenv.gcp.metadata import METHODS as METADATA_METHODS, MetadataServer
from devenv.gcp.parts import CloudParts
from devenv.gcp.rpc.calls import Calls, method_id
from devenv.gcp.rpc.grpc_server import GrpcServer
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.stack_clock import StackClock
from devenv.gcp.store import Store

if TYPE_CHECKING:
    from containers import ContainerEngine


class CloudServer:
    """The emulated cloud inside a running event loop; all state is below `data`."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        data: Path,
        project: Path = Path(),
        roots: Path | None = None,
        place: CloudPlace = HERE,
    ) -> None:
        """Run jobs in the folder `project`, if they are processes; trust `roots` besides our CA."""
        data.mkdir(parents=True, exist_ok=True)
        self._config = config
        self._data = data.resolve()
        self._place = place
        label = place.label or place.network
        self._engine = _engine_of(self._data, label) if place.jobs == "docker" else None
        self._hosts = Hosts(config.allow_hosts)
        self._store = Store(self._data / "state.sqlite3")
        self._clock = clock = StackClock(self._store)
        self._identity = Identity(
            config=config,
            folder=self._data / "keys",
            clock=clock,
            store=self._store,
            operator=self.control_token,
        )
        self._journal = Journal(self._data / "journal.sqlite3", clock)
        self._faults = Faults(self._store, clock)
        self._authority = authority.prepare(
            self._data / "tls", names=certified(config.region), roots=roots
        )
        self._ports = self._open_ports()
        self._services = CloudServices(self._parts(project), self._engine)
        clock.on_reset(self._services.take_back)
        self._webs: list[AsgiServer] = []

    async def start(self) -> None:
        """Resume every service, accept connections, then write `endpoints.json`."""
        await self._services.start()
        rpcs, mounts = tuple(self._services.rpcs()), tuple(self._services.mounts())
        calls = Calls(self._identity, self._journal, self._faults)
        named = (*HTTP_FORMS, *(f"{name}/*" for name in self._names()))
        self._faults.know(
            {method_id(rpc.method): ANY for rpc in rpcs}
            | {name: named for mount in mounts for name in mount.methods}
            | dict.fromkeys(METADATA_METHODS, ("/*",))
            | OWN_FORMS,
            lambda: [account.email for account in self._identity.accounts],
        )
        self._grpc = GrpcServer(rpcs, calls)
        router = Router(
            mounts,
            RestApp(rpcs, calls),
            control=self._control(),
            journal=self._journal,
            faults=self._faults,
            who=self._identity.who,
        )
        self._open_doors(
            SiteCheck(
                router,
                journal=self._journal,
                emulated=self._hosts.emulated,
                names=self._names(),
            )
        )

    async def stop(self) -> None:
        """Stop accepting connections, finish the answers in progress, stop the services."""
        await self._ports.stop()
        for web in self._webs:
            await web.stop()
        self._plain.pipes.close()
        await self._grpc.stop()
        await self._services.stop()
        self._journal.close()
        self._store.close()

    def reload(self) -> None:
        """Have the code of jobs imported anew by the processes that wait with it."""
        self._services.runtimes.reload()

    @property
    def endpoints(self) -> Endpoints:
        """The addresses of this cloud, and the variables of its accounts."""
        return self._ports.endpoints

    @property
    def control_token(self) -> str:
        """The token of the control API."""
        return control_token(self._data)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that this cloud has, by the names of the journal."""
        return self._faults.methods

    def access_token(self, account: str) -> str:
        """Return an OAuth access token of an account (short name or email)."""
        return self._identity.access_token(self._identity.account(account).email, primary=True)

    def environ(self, account: str) -> dict[str, str]:
        """Return the variables of a process that is `account` (short name or email)."""
        return dict(self.endpoints.environ[self._identity.account(account).name])

    def _parts(self, project: Path) -> CloudParts:
        policies = Policies(self._config, self._store, is_account=self._identity.knows)
        return CloudParts(
            config=self._config,
            data=self._data,
            project=project,
            place=self._place,
            clock=self._clock,
            store=self._store,
            identity=self._identity,
            journal=self._journal,
            faults=self._faults,
            policies=policies,
            guard=Iam(self._config, policies, self._clock),
            authority=self._authority,
            ports=self._ports,
            hosts=self._hosts,
        )

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

    def _control(self) -> ControlApi:
        return ControlApi(
            self._journal,
            self._faults,
            self._clock,
            access=ControlAccess(self.control_token, self._names()),
            views=self._services.views(),
            stop_instance=self._services.stop_instance,
        )

    def _names(self) -> set[str]:
        """Return the names by which this cloud is reached besides localhost."""
        return {self._place.host, self._place.container_host, self._gateway} - {""}

    def _open_doors(self, router: SiteCheck) -> None:
        self._plain = plain = PlainDoor(
            web=self._web(router),
            tls=self._authority.context("http/1.1"),
            grpc=self._grpc.protocol,
            grpc_tls=self._authority.context("h2"),
        )
        forward, hosts = self._web(router, reuse=False), self._hosts
        closed = Hosts(self._config.allow_hosts, loopback=False)
        proxy = ProxyDoor(
            hosts=closed if self._place.is_container else hosts,
            plain=plain,
            forward=forward,
            journal=self._journal,
        )
        metadata = self._web(self._metadata_server())
        doors: list[tuple[Any, Handler]] = [
            (self._ports.plain, plain.handle),
            (self._ports.proxy, proxy.handle),
        ]
        if jobs := self._ports.jobs:
            proxy = ProxyDoor(hosts=closed, plain=plain, forward=forward, journal=self._journal)
            doors += [(jobs["metadata"], metadata.adopt), (jobs["proxy"], proxy.handle)]
        listeners = [SocketListener(listening, handle) for listening, handle in doors]
        self._ports.serve(metadata.adopt, listeners)

    def _metadata_server(self) -> MetadataServer:
        return MetadataServer(
            self._config,
            self._identity,
            self._ports.emails,
            self._services.runtimes.account_at,
            journal=self._journal,
            faults=self._faults,
            hosts=self._names(),
        )

    def _web(self, app: Any, *, reuse: bool = True) -> AsgiServer:
        web = AsgiServer(app, self._journal.add_refusal, reuse=reuse)
        self._webs.append(web)
        return web

    @cached_property
    def _gateway(self) -> str:
        """Return our address in the network of jobs, if they are containers and we are not."""
        if self._engine is None or self._place.is_container:
            return ""
        from devenv.gcp.run_jobs.runtimes.docker import gateway_of  # noqa: PLC0415

        return gateway_of(self._engine, self._place.network)


def _engine_of(data: Path, label: str) -> "ContainerEngine":
    # A cloud whose jobs are processes does not load the docker package.
    from devenv.gcp.run_jobs.runtimes.docker import engine_of  # noqa: PLC0415

    return engine_of(data, label)
