"""The methods of google.cloud.run.v2 Services and Revisions.

The REST paths are those of Google's published client; a test compares the two. Operations are
answered together with those of jobs, because clients ask both under one name.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import Aborted, AlreadyExists
from devenv.gcp.messages import set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.run_jobs.resources import Operation, Pb, RunNames, by_name, newest_first, pick
from devenv.gcp.run_services.deployments import Deployments
from devenv.gcp.run_services.records import Revision, Service, ServicesState, operation_for, short
from devenv.gcp.run_services.settings import ServiceMaker, check_service_id

run_v2 = client_types("google.cloud.run_v2")

_LOCATION = "projects/*/locations/*"
_SERVICE = f"{_LOCATION}/services/*"
_REVISION = f"{_SERVICE}/revisions/*"
Handler: TypeAlias = Callable[[Pb, ApiCall], Awaitable[Pb]]

SERVICES: Mapping[str, HttpRule] = {
    "CreateService": HttpRule("POST", f"/v2/{{parent={_LOCATION}}}/services", "service"),
    "GetService": HttpRule("GET", f"/v2/{{name={_SERVICE}}}"),
    "ListServices": HttpRule("GET", f"/v2/{{parent={_LOCATION}}}/services"),
    "UpdateService": HttpRule("PATCH", f"/v2/{{service.name={_SERVICE}}}", "service"),
    "DeleteService": HttpRule("DELETE", f"/v2/{{name={_SERVICE}}}"),
}

REVISIONS: Mapping[str, HttpRule] = {
    "GetRevision": HttpRule("GET", f"/v2/{{name={_REVISION}}}"),
    "ListRevisions": HttpRule("GET", f"/v2/{{parent={_SERVICE}}}/revisions"),
    "DeleteRevision": HttpRule("DELETE", f"/v2/{{name={_REVISION}}}"),
}


class ServicesApi:
    """Services and revisions; each method checks its permission before it looks anything up."""

    def __init__(
        self,
        state: ServicesState,
        deployments: Deployments,
        *,
        maker: ServiceMaker,
        names: RunNames,
        guard: Guard,
        clock: Clock,
    ) -> None:
        self._state = state
        self._deployments = deployments
        self._maker = maker
        self._names = names
        self._guard = guard
        self._clock = clock

    def rpcs(self) -> tuple[Rpc, ...]:
        services, revisions = run_v2.ListServicesResponse.pb(), run_v2.ListRevisionsResponse.pb()
        methods: tuple[tuple[str, Pb, Handler], ...] = (
            ("CreateService", Operation, self.create),
            ("GetService", Service, self.get),
            ("ListServices", services, self.list_services),
            ("UpdateService", Operation, self.update),
            ("DeleteService", Operation, self.delete),
            ("GetRevision", Revision, self.get_revision),
            ("ListRevisions", revisions, self.list_revisions),
            ("DeleteRevision", Operation, self.delete_revision),
        )
        return tuple(
            Rpc(
                f"google.cloud.run.v2.{'Services' if name in SERVICES else 'Revisions'}/{name}",
                getattr(run_v2, f"{name}Request").pb(),
                response,
                handle,
                (SERVICES.get(name) or REVISIONS[name],),
            )
            for name, response, handle in methods
        )

    async def create(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("LOCATION", request.parent)
        self._guard.require(call.caller, "run.services.create", parent.full)
        check_service_id(request.service_id)
        name = f"{parent.full}/services/{request.service_id}"
        if self._state.services.get(name) is not None:
            raise AlreadyExists(f"Resource '{request.service_id}' already exists.")
        service = self._maker.create(
            request.service, name=name, creator=call.caller.email, now=self._clock.now()
        )
        return self._keep(service, None, call, validate_only=request.validate_only)

    async def get(self, request: Pb, call: ApiCall) -> Pb:
        return self._find(request.name, call, "run.services.get")

    async def list_services(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("LOCATION", request.parent)
        self._guard.require(call.caller, "run.services.list", parent.full)
        found = self._state.services.below(f"{parent.full}/services")
        services, token = pick(found, request, key=by_name)
        return run_v2.ListServicesResponse.pb()(services=services, next_page_token=token)

    async def update(self, request: Pb, call: ApiCall) -> Pb:
        name = self._names.read("SERVICE", request.service.name)
        self._guard.require(call.caller, "run.services.update", name.full)
        service = self._state.services.get(name.full)
        if service is None and request.allow_missing:
            creation = run_v2.CreateServiceRequest.pb()(
                parent=name.parent, service_id=name.short, service=request.service
            )
            creation.validate_only = request.validate_only
            return await self.create(creation, call)
        if service is None:
            raise name.missing()
        if request.service.etag not in ("", service.etag):
            raise Aborted(
                f"Conflict for resource '{name.short}': version '{request.service.etag[:100]}' "
                f"was specified but current version is '{service.etag}'."
            )
        changed = self._maker.change(
            service,
            request.service,
            request.update_mask,
            modifier=call.caller.email,
            now=self._clock.now(),
        )
        return self._keep(changed, service, call, validate_only=request.validate_only)

    async def delete(self, request: Pb, call: ApiCall) -> Pb:
        """Delete a service with its revisions. Its policy goes with it."""
        service = self._find(request.name, call, "run.services.delete")
        service.generation += 1  # the operation of a deletion is one of its own
        set_moment(service.delete_time, self._clock.now())
        operation = operation_for(service)
        if not request.validate_only:
            self._deployments.delete(service)
            self._guard.forget(service.name)
            self._state.operations.put(operation)
        return operation

    async def get_revision(self, request: Pb, call: ApiCall) -> Pb:
        return self._find_revision(request.name, call, "run.revisions.get")

    async def list_revisions(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("SERVICE", request.parent, wild=True)
        self._guard.require(call.caller, "run.revisions.list", parent.full)
        if parent.short != "-" and self._state.services.get(parent.full) is None:
            raise parent.missing()
        found = self._state.revisions.below(f"{parent.full}/revisions")
        revisions, token = pick(found, request, key=newest_first)
        return run_v2.ListRevisionsResponse.pb()(revisions=revisions, next_page_token=token)

    async def delete_revision(self, request: Pb, call: ApiCall) -> Pb:
        revision = self._find_revision(request.name, call, "run.revisions.delete")
        set_moment(revision.delete_time, self._clock.now())
        operation = Operation(name=self._names.new_operation(), done=True)
        operation.metadata.Pack(revision)
        operation.response.Pack(revision)
        if not request.validate_only:
            self._deployments.delete_revision(revision)
            self._state.operations.put(operation)
        return operation

    def _keep(self, service: Pb, before: Pb | None, call: ApiCall, *, validate_only: bool) -> Pb:
        """Store a service, and deploy its revision if that is a new one; return the operation."""
        template = service.template
        project = service.name.split("/", 2)[1]
        account = f"projects/{project}/serviceAccounts/{template.service_account}"
        self._guard.require(call.caller, "iam.serviceAccounts.actAs", account)
        known = {short(each.name) for each in self._state.of(service)}
        revision = self._maker.revision(service, before, known, self._clock.now())
        new = {short(revision.name)} if revision is not None else set()
        self._maker.check_traffic(service, known | new)
        if validate_only:
            return operation_for(service)
        return self._deployments.change(service, revision)

    def _find(self, text: str, call: ApiCall, permission: str) -> Pb:
        name = self._names.read("SERVICE", text)
        self._guard.require(call.caller, permission, name.full)
        if (found := self._state.services.get(name.full)) is None:
            raise name.missing()
        return found

    def _find_revision(self, text: str, call: ApiCall, permission: str) -> Pb:
        name = self._names.read("REVISION", text)
        self._guard.require(call.caller, permission, name.full)
        if (found := self._state.revisions.get(name.full)) is None:
            raise name.missing()
        return found
