"""The two runtimes of one cloud: for jobs, and for the instances of services."""

from pathlib import Path
from typing import TYPE_CHECKING

from devenv.gcp.parts import CloudParts
from devenv.gcp.run_jobs.runtimes.base import JobsRuntime, OutputSink
from devenv.gcp.run_jobs.runtimes.process import ProcessRuntime

if TYPE_CHECKING:
    from containers import ContainerEngine


class Runtimes:
    """Run containers with an engine, or processes without one. Each runtime ends only its own."""

    def __init__(
        self, parts: CloudParts, engine: "ContainerEngine | None", on_lines: OutputSink
    ) -> None:
        """Pass on to `on_lines` what they write."""
        self._parts = parts
        self.jobs = self._runtime(parts.data, engine)
        if engine is not None:
            # A cloud whose jobs are processes does not load the docker package.
            from devenv.gcp.run_jobs.runtimes.docker import engine_of  # noqa: PLC0415

            label = parts.place.label or parts.place.network
            engine = engine_of(parts.data, f"{label} services")
        self.services = self._runtime(parts.data / "services", engine)
        self.jobs.on_lines = self.services.on_lines = on_lines

    def reload(self) -> None:
        """Have the code of jobs imported anew by the processes that wait with it."""
        if isinstance(self.jobs, ProcessRuntime):
            self.jobs.reload()

    async def account_at(self, address: str) -> str | None:
        """Return the account of the container at an address of the network, if it is one of ours."""
        found = [await each.account_at(address) for each in (self.jobs, self.services)]
        return next(filter(None, found), None)

    def _runtime(self, data: Path, engine: "ContainerEngine | None") -> JobsRuntime:
        if engine is not None:
            return self._container_runtime(data, engine)
        parts = self._parts
        return ProcessRuntime(
            images=parts.config.images,
            environ=self._environ,
            data=data,
            project=parts.project,
        )

    def _container_runtime(self, data: Path, engine: "ContainerEngine") -> JobsRuntime:
        from containers import NetworkPeer  # noqa: PLC0415 - as above
        from devenv.gcp.run_jobs.runtimes.docker import BUNDLE, DockerRuntime  # noqa: PLC0415

        parts, place = self._parts, self._parts.place
        peer = NetworkPeer(place.container, place.container_host) if place.container else None
        return DockerRuntime(
            engine,
            environ=lambda account: parts.ports.environ_of_job(self._name(account), BUNDLE),
            bundle=parts.authority.bundle,
            data=data,
            images=parts.config.images,
            network=place.network,
            peer=peer,
        )

    def _environ(self, account: str) -> dict[str, str]:
        return dict(self._parts.ports.endpoints.environ[self._name(account)])

    def _name(self, account: str) -> str:
        """Return the short name of an account. Raises NotFound."""
        return self._parts.identity.account(account).name
