"""Records of Cloud Run services: message classes, conditions, and the tables that keep them.

Services and revisions are kept under their full names, operations in the table of all operations of
Cloud Run. A service's operation has a name that follows from the service and its generation, so that
a restarted emulator finishes the operation of a deployment that it takes up again.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from google.rpc.status_pb2 import Status

from devenv.gcp.client_types import client_types
from devenv.gcp.messages import set_moment
from devenv.gcp.run_jobs.resources import Operation, Pb, State, operation_of
from devenv.gcp.run_jobs.state import Records
from devenv.gcp.store import Store

run_v2 = client_types("google.cloud.run_v2")

Service: Pb = run_v2.Service.pb()
Revision: Pb = run_v2.Revision.pb()
RevisionTemplate: Pb = run_v2.RevisionTemplate.pb()
Condition: Pb = run_v2.Condition.pb()
TrafficTarget: Pb = run_v2.TrafficTarget.pb()

RevisionReason = run_v2.Condition.RevisionReason
CommonReason = run_v2.Condition.CommonReason
LATEST = int(run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST)
BY_NAME = int(run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION)
INGRESS_ALL = int(run_v2.IngressTraffic.INGRESS_TRAFFIC_ALL)
READY, PENDING, FAILED = (
    int(State.CONDITION_SUCCEEDED),
    int(State.CONDITION_RECONCILING),
    int(State.CONDITION_FAILED),
)

SERVICE_PARTS = ("RoutesReady", "ConfigurationsReady")
REVISION_PARTS = ("Ready", "ResourcesAvailable", "ContainerReady", "ContainerHealthy")
DECLARED_IMAGE = "devenv.toml/"  # before the name of a service that devenv.toml declares


class ServicesState:
    """All of it, in the store that the emulated cloud shares."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.services = Records(store.table("run_services"), Service)
        self.revisions = Records(store.table("run_revisions"), Revision)
        self.operations = Records(store.table("run_operations"), Operation)
        self.declared = store.table("run_declared_services")

    def transaction(self) -> AbstractContextManager[None]:
        return self._store.transaction()

    def of(self, service: Pb) -> list[Pb]:
        """Return the revisions of a service, the oldest first."""
        found = self.revisions.below(f"{service.name}/revisions")
        return sorted(found, key=lambda revision: revision.create_time.ToMicroseconds())


def is_ready(revision: Pb) -> bool:
    """Return whether a revision has started once, and can serve."""
    return any(each.type_ == "Ready" and each.state == READY for each in revision.conditions)


def is_declared(revision: Pb) -> bool:
    """Return whether a revision stands for a service of devenv.toml, which runs by itself."""
    return str(revision.containers[0].image).startswith(DECLARED_IMAGE)


def tell(
    conditions: Pb,
    kinds: Iterable[str],
    state: int,
    *,
    now: float,
    message: str = "",
    reason: int | None = None,
) -> None:
    """Set conditions of these types; `reason` is a RevisionReason or a CommonReason."""
    kept = [each for each in conditions if each.type_ not in kinds]
    told = [condition(kind, state, now=now, message=message, reason=reason) for kind in kinds]
    del conditions[:]
    conditions.extend([*told, *kept])


def condition(
    kind: str, state: int, *, now: float, message: str = "", reason: int | None = None
) -> Pb:
    """Return a Condition of this type."""
    made = Condition(type_=kind, state=state, message=message)
    set_moment(made.last_transition_time, now)
    if isinstance(reason, RevisionReason):
        made.revision_reason = reason
    elif reason is not None:
        made.reason = reason
    return made


def operation_for(service: Pb, *, error: Status | None = None, done: bool = True) -> Pb:
    """Return the operation of the change that made a service's generation."""
    location = service.name.split("/services/", 1)[0]
    name = operation_of(service.uid, f"generation-{service.generation}", location)
    operation = Operation(name=name, done=done)
    operation.metadata.Pack(service)
    if error is not None:
        operation.error.CopyFrom(error)
    elif done:
        operation.response.Pack(service)
    return operation


def short(name: str) -> str:
    """Return the last part of a full name."""
    return name.rpartition("/")[2]
