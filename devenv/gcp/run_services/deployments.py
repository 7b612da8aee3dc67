"""Deployments: a new revision is started, and gets its traffic once it is ready.

A service is `reconciling` until then, and its operation is not done. A revision that does not become
ready gets no traffic: what served before goes on serving. A deployment that the emulator's end
interrupted is taken up again at the next start.
"""

import asyncio
import logging
from dataclasses import dataclass

from google.rpc.status_pb2 import Status

from devenv.gcp.clock import Clock
from devenv.gcp.errors import FailedPrecondition, NotFound, PermissionDenied, Unavailable
from devenv.gcp.run_jobs.containers import secret_files, secret_variables
from devenv.gcp.run_jobs.resources import Pb, touch
from devenv.gcp.run_jobs.runtimes.base import AttemptNotStarted
from devenv.gcp.run_services.instances import (
    InstanceContext,
    InstanceNotStarted,
)
from devenv.gcp.run_services.records import (
    FAILED,
    PENDING,
    READY,
    REVISION_PARTS,
    SERVICE_PARTS,
    CommonReason,
    RevisionReason,
    ServicesState,
    condition,
    is_declared,
    operation_for,
    short,
    tell,
)
from devenv.gcp.run_services.routing import Routes
from devenv.gcp.store import write_at_last

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeploymentFailed(Exception):
    """Raised for a revision that cannot serve; `code` is the google.rpc.Code of the operation."""

    code: int
    message: str
    reason: int


class Deployments:
    """Changes of the services of the project, and the end of each."""

    def __init__(self, state: ServicesState, routes: Routes, context: InstanceContext) -> None:
        self._state = state
        self._routes = routes
        self._context = context
        self._clock: Clock = context.clock
        self._carrying: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Serve every service again, and go on with the deployments that were interrupted."""
        for service in list(self._state.services.below("projects")):
            self._routes.update(service)
            if service.reconciling:
                self._carry(service)

    def change(self, service: Pb, revision: Pb | None) -> Pb:
        """Store a new or changed service with its new revision; return the operation."""
        if revision is None:
            self._settle(service, failure=self._failure_of(service))
            operation = operation_for(service)
            with self._state.transaction():
                self._state.services.put(service)
                self._state.operations.put(operation)
            self._routes.update(service)
            return operation
        now = self._clock.now()
        service.reconciling = True
        service.latest_created_revision = revision.name
        service.terminal_condition.CopyFrom(condition("Ready", PENDING, now=now))
        tell(service.conditions, SERVICE_PARTS, PENDING, now=now)
        operation = operation_for(service, done=False)
        with self._state.transaction():
            self._state.services.put(service)
            self._state.revisions.put(revision)
            self._state.operations.put(operation)
        self._carry(service)
        return operation

    def delete(self, service: Pb) -> None:
        """Remove a service with its revisions, and end its instances."""
        with self._state.transaction():
            for revision in self._state.of(service):
                self._state.revisions.delete(revision.name)
            self._state.services.delete(service.name)
        self._routes.forget(service)

    def delete_revision(self, revision: Pb) -> None:
        """Remove a revision that gets no traffic. Raises FailedPrecondition."""
        service = self._state.services.get(revision.name.rsplit("/", 2)[0])
        served = self._routes.served(service) if service else set()
        if service and revision.name in served | {service.latest_created_revision}:
            raise FailedPrecondition(
                f"Revision '{short(revision.name)}' cannot be deleted: it receives traffic, or is "
                "the latest one."
            )
        self._state.revisions.delete(revision.name)
        self._routes.retire(revision.name)

    async def settled(self, operation: Pb, *, within: float) -> None:
        """Return when the deployment of an operation has ended, or after `within` seconds."""
        if operation.name in self._carrying:
            await asyncio.wait({self._carrying[operation.name]}, timeout=within)

    async def stop(self) -> None:
        """Stop without an end: what was being deployed is taken up at the next start."""
        carrying = list(self._carrying.values())
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        await self._routes.stop()

    def _carry(self, service: Pb) -> None:
        operation = operation_for(service, done=False).name
        work = self._deploy(service.name, service.latest_created_revision, service.generation)
        self._carrying[operation] = task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._carrying.pop(operation, None))

    async def _deploy(self, name: str, revision_name: str, generation: int) -> None:
        revision = self._state.revisions.get(revision_name)
        try:
            await self._start(revision)
            failure = None
        except DeploymentFailed as error:
            failure = error
            log.warning("%s: %s", short(revision_name), error.message)
        except Exception:
            log.exception("%s: the emulator itself failed.", short(revision_name))
            failure = DeploymentFailed(13, "Internal error.", int(CommonReason.INTERNAL))
        await write_at_last(
            revision_name, lambda: self._record(name, revision, generation, failure), self._clock
        )

    async def _start(self, revision: Pb) -> None:
        """Start the first instance of a revision. Raises DeploymentFailed."""
        if is_declared(revision):
            return
        container, sources = revision.containers[0], self._context.sources
        container.image = await self._pinned(container.image)
        try:
            secret_variables(revision, sources.read_secret)
            secret_files(revision, sources.read_secret)
        except AttemptNotStarted as error:
            raise DeploymentFailed(
                PermissionDenied.code, str(error), CommonReason.SECRETS_ACCESS_CHECK_FAILED
            ) from error
        try:
            await self._routes.instances(revision).check()
        except InstanceNotStarted as error:
            raise DeploymentFailed(
                FailedPrecondition.code, str(error), RevisionReason.HEALTH_CHECK_CONTAINER_ERROR
            ) from error

    async def _pinned(self, image: str) -> str:
        """Return an image by its digest. Raises DeploymentFailed."""
        runtime = self._context.runtime
        try:
            pinned = await runtime.pin(image)
        except AttemptNotStarted as error:  # the engine is away
            text = f"Image '{image}' could not be looked up: {error}"
            raise DeploymentFailed(Unavailable.code, text, CommonReason.INTERNAL) from error
        if pinned is None:
            text = f"Image '{image}' not found. {runtime.hint(image)}"
            raise DeploymentFailed(NotFound.code, text, CommonReason.CONTAINER_MISSING)
        return pinned

    def _record(
        self, name: str, revision: Pb, generation: int, failure: DeploymentFailed | None
    ) -> None:
        """Store the end of a deployment, unless another one has begun meanwhile for the service."""
        service = self._state.services.get(name)
        if service is None or self._state.revisions.get(revision.name) is None:
            return  # deleted meanwhile
        now, error = self._clock.now(), None
        revision.reconciling = False
        revision.observed_generation = revision.generation
        if failure is None:
            tell(revision.conditions, REVISION_PARTS, READY, now=now)
            if self._is_newest(service, revision):
                service.latest_ready_revision = revision.name
        else:
            tell(
                revision.conditions,
                ("Ready", "ContainerHealthy"),
                FAILED,
                now=now,
                message=failure.message,
                reason=failure.reason,
            )
            error = Status(code=failure.code, message=_not_ready(revision, failure))
        touch(revision, now)
        is_current = service.latest_created_revision == revision.name
        operation = operation_for(service, error=error)
        if service.generation != generation:
            operation.name = self._operation_of(service, generation)
        elif is_current:
            self._settle(service, failure=error)
            operation = operation_for(service, error=error)
        with self._state.transaction():
            self._state.revisions.put(revision)
            self._state.services.put(service)
            self._state.operations.put(operation)
        self._routes.update(service)

    def _operation_of(self, service: Pb, generation: int) -> str:
        earlier = type(service)()
        earlier.CopyFrom(service)
        earlier.generation = generation
        return str(operation_for(earlier).name)

    def _failure_of(self, service: Pb) -> Status | None:
        """Return why the latest revision cannot serve, None if it can."""
        revision = self._state.revisions.get(service.latest_created_revision)
        failed = [each for each in revision.conditions if each.type_ == "Ready"] if revision else []
        if not failed or failed[0].state != FAILED:
            return None
        return Status(code=FailedPrecondition.code, message=failed[0].message)

    def _is_newest(self, service: Pb, revision: Pb) -> bool:
        before = self._state.revisions.get(service.latest_ready_revision)
        if before is None:
            return True
        made, last = revision.create_time, before.create_time
        return bool(made.ToMicroseconds() >= last.ToMicroseconds())

    def _settle(self, service: Pb, *, failure: Status | None = None) -> None:
        """Write into a service that its change is done, and where its traffic goes."""
        now = self._clock.now()
        service.reconciling = False
        service.observed_generation = service.generation
        state, message = (FAILED, failure.message) if failure else (READY, "")
        reason = CommonReason.REVISION_FAILED if failure else None
        service.terminal_condition.CopyFrom(
            condition("Ready", state, now=now, message=message, reason=reason)
        )
        tell(service.conditions, ("ConfigurationsReady",), state, now=now, message=message)
        is_served = bool(service.latest_ready_revision)
        tell(service.conditions, ("RoutesReady",), READY if is_served else FAILED, now=now)
        del service.traffic_statuses[:]
        for target in service.traffic:
            status = service.traffic_statuses.add(
                type_=target.type_,
                revision=target.revision,
                percent=target.percent,
                tag=target.tag,
            )
            if target.tag:
                status.uri = f"https://{target.tag}---{service.uri.partition('//')[2]}"


def _not_ready(revision: Pb, failure: DeploymentFailed) -> str:
    return (
        f"Revision '{short(revision.name)}' is not ready and cannot serve traffic. "
        f"{failure.message}"
    )
