"""Routing of Cloud Run services: which host leads to which revisions.

`Routes.hosts` is the registry of everything that is served under `run.app`, whether devenv.toml or a
caller made it. It follows each change of a service; instances that no host leads to are let go.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from devenv.gcp.config import CloudConfig
from devenv.gcp.forward.connection import Origin
from devenv.gcp.run_jobs.resources import Pb
from devenv.gcp.run_services.instances import InstanceContext, RevisionInstances
from devenv.gcp.run_services.records import (
    DECLARED_IMAGE,
    LATEST,
    ServicesState,
    is_declared,
    is_ready,
)

DECLARED_TIMEOUT = 300.0  # Cloud Run's default
_MOST_OVER = 20  # deleted revisions whose ended instances are still shown


class Backend(Protocol):
    """A place that requests are forwarded to."""

    timeout: float

    def reach(self) -> AbstractAsyncContextManager[Origin]: ...


class DeclaredBackend:
    """The process that devenv.toml declares, at its port."""

    def __init__(self, origin: Origin, timeout: float = DECLARED_TIMEOUT) -> None:
        self.origin = origin
        self.timeout = timeout
        self.active = 0  # requests at the moment

    @asynccontextmanager
    async def reach(self) -> AsyncIterator[Origin]:
        self.active += 1
        try:
            yield self.origin
        finally:
            self.active -= 1


@dataclass(frozen=True, slots=True)
class ServedHost:
    """A host name under run.app: its service, and how requests to it are treated.

    `pick` returns a backend by the traffic split, None while no revision is ready. Tokens may have
    one of `audiences`.
    """

    service: str
    audiences: tuple[str, ...]
    pick: Callable[[], Backend | None]
    is_open: bool = False
    is_internal: bool = False


class Routes:
    """The hosts of all services, and the instances of their revisions."""

    def __init__(
        self,
        config: CloudConfig,
        state: ServicesState,
        context: InstanceContext,
        *,
        declared_timeout: float,
    ) -> None:
        self.hosts: dict[str, ServedHost] = {}
        self._state = state
        self._context = context
        self._instances: dict[str, RevisionInstances] = {}  # by the full name of a revision
        self._retired: list[RevisionInstances] = []
        self.declared = {
            each.name: DeclaredBackend(Origin(each.host, each.port), declared_timeout)
            for each in config.services
        }

    def update(self, service: Pb) -> None:
        """Let the hosts of a service lead to the revisions that its traffic names."""
        self._unroute(service.name)
        targets = list(self._targets(service))
        url = service.uri
        host = url.partition("//")[2]
        if not service.default_uri_disabled:
            weights: Counter[str] = Counter()
            for percent, name, _ in targets:
                weights.update({name: percent} if percent else {})  # several may name one revision
            self._serve(service, host, (url,), weights)
        for _, name, tag in targets:
            if tag:
                tagged = f"{tag}---{host}"
                self._serve(service, tagged, (url, f"https://{tagged}"), {name: 1})
        self._scale(service, {name for _, name, _ in targets if name})

    def forget(self, service: Pb) -> None:
        """Let go of the hosts and instances of a deleted service."""
        self._unroute(service.name)
        for name in [each for each in self._instances if each.startswith(f"{service.name}/")]:
            self.retire(name)

    def retire(self, name: str) -> None:
        """Let go of the instances of a deleted revision; another one may get its name."""
        if instances := self._instances.pop(name, None):
            instances.retire()
            self._retired.append(instances)
            over = [each for each in self._retired if each.is_over]
            for each in over[:-_MOST_OVER]:
                self._retired.remove(each)

    def served(self, service: Pb) -> set[str]:
        """Return the full names of the revisions that get requests."""
        return {name for _, name, _ in self._targets(service)}

    def instances(self, revision: Pb) -> RevisionInstances:
        """Return the instances of a revision, none of which may have been started."""
        if revision.name not in self._instances:
            made = RevisionInstances(revision, self._context)
            self._instances[revision.name] = made
        return self._instances[revision.name]

    def all_instances(self) -> Iterator[RevisionInstances]:
        """Yield the instances of each revision that has or had some; of those deleted, the last ones."""
        yield from (*self._retired, *self._instances.values())

    async def stop(self) -> None:
        """Forget all instances; the runtime ends their containers."""
        for instances in list(self.all_instances()):
            await instances.stop()

    def _serve(
        self, service: Pb, host: str, audiences: tuple[str, ...], weights: dict[str, int]
    ) -> None:
        backends = {name: self._backend(name) for name in weights if name}

        def pick() -> Backend | None:
            chosen = random.choices(list(weights), list(weights.values()))[0]  # noqa: S311
            return backends.get(chosen)

        self.hosts[host] = ServedHost(
            service.name,
            (*audiences, *service.custom_audiences),
            pick,
            is_open=service.invoker_iam_disabled,
            is_internal=service.ingress > 1,
        )

    def _unroute(self, name: str) -> None:
        for host in [host for host, served in self.hosts.items() if served.service == name]:
            del self.hosts[host]

    def _targets(self, service: Pb) -> Iterator[tuple[int, str, str]]:
        """Yield (percent, full name of a revision, tag); no name while none is ready."""
        for target in service.traffic:
            name = service.latest_ready_revision
            if target.type_ != LATEST:
                name = f"{service.name}/revisions/{target.revision}"
            yield target.percent, name, target.tag

    def _scale(self, service: Pb, served: set[str]) -> None:
        prefix = f"{service.name}/"
        for name, instances in list(self._instances.items()):
            if not name.startswith(prefix):
                continue
            revision = self._state.revisions.get(name)
            if name in served and revision:
                own, whole = revision.scaling.min_instance_count, service.scaling
                least = max(own, whole.min_instance_count)
                instances.scale(least=least, most=whole.max_instance_count)
            elif not service.reconciling or name != service.latest_created_revision:
                instances.retire()

    def _backend(self, name: str) -> Backend | None:
        revision = self._state.revisions.get(name)
        if revision is None or not is_ready(revision):
            return None
        if is_declared(revision):
            image = revision.containers[0].image
            return self.declared.get(image.removeprefix(DECLARED_IMAGE))
        return self.instances(revision)
