"""The one process of the emulated cloud: which services there are and the ports they answer on."""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devenv.gcp.clock import Clock, SystemClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.iam.guard import Iam
from devenv.gcp.identity import certificates, exchange
from devenv.gcp.identity.credentials import CredentialsApi
from devenv.gcp.identity.identity import Identity, bearer
from devenv.gcp.intercept import authority, endpoints
from devenv.gcp.intercept.doors import Listener, PlainDoor, ProxyDoor
from devenv.gcp.intercept.endpoints import Endpoints
from devenv.gcp.intercept.environment import environ
from devenv.gcp.intercept.hosts import Hosts, certified
from devenv.gcp.intercept.router import Router
from devenv.gcp.intercept.web import WebServer
from devenv.gcp.metadata.server import MetadataServer
from devenv.gcp.rpc import Mount, Rpc
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.grpc_server import GrpcServer
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.store import Store

log = logging.getLogger(__name__)
_START = 30.0


class Server:
    """Everything, inside a running event loop; all state lives below `data`."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        data: Path,
        plain_port: int = 0,
        clock: Clock | None = None,
        roots: Path | None = None,
    ) -> None:
        """Without `plain_port` the port of the last time is taken, or any; see authority.prepare."""
        data.mkdir(parents=True, exist_ok=True)
        self._config = config
        self._data = data
        self._file = data / "endpoints.json"
        self._before = endpoints.read(self._file)
        self._plain_port = plain_port or endpoints.port_of(self._before.plain)
        clock = clock or SystemClock()
        self._identity = Identity(config=config, folder=data / "keys", clock=clock)
        self._iam = Iam(config)
        self._store = Store(data / "state.sqlite3")
        self._clock = clock
        self._authority = authority.prepare(
            data / "tls", names=certified(config.region), roots=roots
        )
        self._listeners: list[Listener] = []
        self._webs: list[WebServer] = []
        self.endpoints = Endpoints()

    async def start(self) -> None:
        """Listen on every port, then tell the world by `endpoints.json`."""
        metadata = self._serve_metadata()
        rpcs, mounts = self._rpcs(), self._mounts()
        calls = Calls(self._identity)
        self._grpc = GrpcServer(rpcs, calls)
        await self._grpc.start(
            key=self._authority.key.read_bytes(), chain=self._authority.chain.read_bytes()
        )
        router = Router(mounts, RestApp(rpcs, calls), who=self._who)
        plain, proxy = self._open_doors(router)
        self.endpoints = self._described(plain, proxy, metadata)
        self.endpoints.write(self._file)

    async def stop(self) -> None:
        """Stop accepting, finish what is being answered."""
        for listener in self._listeners:
            await listener.close()
        for web in self._webs:
            await web.stop()
        await self._grpc.stop()
        self._store.close()

    def _rpcs(self) -> tuple[Rpc, ...]:
        return ()

    def _mounts(self) -> tuple[Mount, ...]:
        credentials = CredentialsApi(
            project=self._config.project,
            identity=self._identity,
            guard=self._iam,
            clock=self._clock,
        )
        return (
            *certificates.mounts(self._identity),
            exchange.mount(self._identity),
            credentials.mount(),
        )

    def _serve_metadata(self) -> dict[str, int]:
        """Open one port for every account, which thereby knows who asks."""
        ports: dict[str, int] = {}
        emails: dict[int, str] = {}
        web = self._web(MetadataServer(self._config, self._identity, emails))
        for account in self._identity.accounts:
            listening = endpoints.listen(self._before.metadata.get(account.name, 0))
            ports[account.name] = listening.getsockname()[1]
            emails[ports[account.name]] = account.email
            self._listeners.append(Listener(listening, web.adopt))
        return ports

    def _open_doors(self, router: Router) -> tuple[str, str]:
        plain = PlainDoor(
            web=self._web(router),
            tls=self._authority.context(),
            grpc_port=self._grpc.plain_port,
            grpc_tls_port=self._grpc.tls_port,
        )
        proxy = ProxyDoor(
            hosts=Hosts(self._config.allow_hosts),
            plain=plain,
            forward=self._web(router, reuse=False),
        )
        return (
            self._open(self._plain_port, plain),
            self._open(endpoints.port_of(self._before.proxy), proxy),
        )

    def _open(self, port: int, door: PlainDoor | ProxyDoor) -> str:
        listening = endpoints.listen(port)
        self._listeners.append(Listener(listening, door.handle))
        return f"http://{endpoints.address(listening)}"

    def _web(self, app: Any, *, reuse: bool = True) -> WebServer:
        web = WebServer(app, reuse=reuse)
        self._webs.append(web)
        return web

    def _described(self, plain: str, proxy: str, metadata: dict[str, int]) -> Endpoints:
        variables = {}
        for name, port in metadata.items():
            gcloud = self._data / "gcloud" / name
            gcloud.mkdir(parents=True, exist_ok=True)
            variables[name] = environ(
                project=self._config.project,
                proxy=proxy,
                bundle=self._authority.bundle.resolve(),
                metadata=f"127.0.0.1:{port}",
                gcloud=gcloud.resolve(),
            )
        bundle = str(self._authority.bundle.resolve())
        return Endpoints(os.getpid(), plain, proxy, bundle, metadata, variables)

    def _who(self, authorization: str) -> str:
        grant = self._identity.grant(bearer({"authorization": authorization}))
        return grant.caller.email if grant else ""


class Cloud:
    """The emulated cloud in a thread of its own: `with Cloud(config, data=path) as cloud:`."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        data: Path,
        plain_port: int = 0,
        clock: Clock | None = None,
        roots: Path | None = None,
    ) -> None:
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gcp", daemon=True)
        self._server = Server(config, data=data, plain_port=plain_port, clock=clock, roots=roots)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._server.start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def proxy_url(self) -> str:
        return self._server.endpoints.proxy

    @property
    def plain_url(self) -> str:
        return self._server.endpoints.plain

    @property
    def bundle(self) -> Path:
        return Path(self._server.endpoints.bundle)

    def environ(self, account: str) -> dict[str, str]:
        """Return the environment variables of a process that is `account` (short name or e-mail)."""
        known = self._server.endpoints.environ
        return dict(known[account.partition("@")[0]])

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START)
