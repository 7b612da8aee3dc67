"""The listening sockets of the emulated cloud, and the variables that lead to them.

The ports are those of the last time where they are still free. Each account has a metadata port of
its own, which is opened when the account comes and closed when it goes; `endpoints.json` is written
anew then, so that other programs find the variables of an account that was made by API.
"""

import asyncio
import os
import socket
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from devenv.gcp.config import CloudPlace
from devenv.gcp.intercept import endpoints
from devenv.gcp.intercept.doors import Handler, SocketListener
from devenv.gcp.intercept.endpoints import Endpoints, environ, listen, port

_FOR_JOBS = ("proxy", "metadata")


class Ports:
    """Every socket of one cloud; `folder` is its data folder, `gateway` its address for jobs."""

    def __init__(
        self, folder: Path, *, project: str, place: CloudPlace, bundle: Path, gateway: str
    ) -> None:
        """Open the ports for everybody. Raises Unavailable."""
        self._folder = folder
        self._file = folder / "endpoints.json"
        self._project = project
        self._place = place
        self._bundle = bundle
        self._gateway = gateway
        self._before = endpoints.read(self._file)
        known, bind = self._before, place.bind
        doors = _FOR_JOBS if gateway else ()
        self.jobs = {name: listen(gateway, known.jobs.get(name, 0)) for name in doors}
        self.plain = listen(bind, place.plain_port or endpoints.port_of(known.plain))
        self.proxy = listen(bind, endpoints.port_of(known.proxy))
        self._metadata: dict[str, socket.socket] = {}
        self._listeners: dict[str, SocketListener] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._handle: Handler | None = None
        self.emails: dict[int, str] = {}
        self.endpoints = self._describe()

    def open(self, name: str, email: str) -> None:
        """Open the metadata port of an account; serve and announce it once `serve` was called."""
        listening = listen(self._place.bind, self._before.metadata.get(name, 0))
        self._metadata[name] = listening
        self.emails[port(listening)] = email
        self.endpoints = self._describe()
        if self._handle is not None:
            self._listeners[name] = SocketListener(listening, self._handle)
            self.endpoints.write(self._file)

    def close(self, name: str) -> None:
        """Close the metadata port of an account that is gone."""
        del self.emails[port(self._metadata.pop(name))]
        self.endpoints = self._describe()
        self.endpoints.write(self._file)
        closing = asyncio.ensure_future(self._listeners.pop(name).close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def serve(self, handle: Handler, others: Iterable[SocketListener]) -> None:
        """Hand the connections of all metadata ports to `handle`, and write `endpoints.json`.

        `others` are the listeners of all the other doors, which `stop` closes too.
        """
        self._handle = handle
        self._listeners |= {
            name: SocketListener(listening, handle) for name, listening in self._metadata.items()
        }
        self._others = tuple(others)
        self.endpoints.write(self._file)

    async def stop(self) -> None:
        for listener in (*self._others, *self._listeners.values()):
            await listener.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def environ_of_job(self, name: str, bundle: PurePath) -> dict[str, str]:
        """Return the variables of a container that is the account of this short name."""
        doors = self.jobs or {"proxy": self.proxy, "metadata": self._metadata[name]}
        host = self._place.container_host or self._gateway or self._place.host
        return environ(
            project=self._project,
            proxy=f"http://{host}:{port(doors['proxy'])}",
            bundle=bundle,
            metadata=f"{host}:{port(doors['metadata'])}",
            gcloud=PurePosixPath("/tmp/gcloud"),  # noqa: S108 - of the container
        )

    def _describe(self) -> Endpoints:
        host = self._place.host
        plain, proxy = (
            f"http://{host}:{port(listening)}" for listening in (self.plain, self.proxy)
        )
        ports = {name: port(listening) for name, listening in self._metadata.items()}
        variables = {
            name: environ(
                project=self._project,
                proxy=proxy,
                bundle=self._bundle,
                metadata=f"{host}:{number}",
                gcloud=self._gcloud(name),
            )
            for name, number in ports.items()
        }
        jobs = {name: port(listening) for name, listening in self.jobs.items()}
        return Endpoints(os.getpid(), plain, proxy, str(self._bundle), ports, jobs, variables)

    def _gcloud(self, account: str) -> Path:
        folder = self._folder / "gcloud" / account
        folder.mkdir(parents=True, exist_ok=True)
        # A gcloud that ran without us remembers for ten minutes that it has no metadata server.
        (folder / "gce").unlink(missing_ok=True)
        return folder
