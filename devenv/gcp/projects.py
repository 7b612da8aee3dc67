"""The emulated project itself: Resource Manager and Service Usage.

After https://cloud.google.com/resource-manager/reference/rest and
https://cloud.google.com/service-usage/docs/reference/rest. There is one project, which has no
parent. Every emulated service can be enabled and disabled, and all are enabled at first; a call to
a disabled service is still answered. The v1 methods of Resource Manager, which gcloud calls, answer
JSON of their own shape and have no gRPC.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeAlias

from google.longrunning import operations_proto_pb2 as operations_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import FailedPrecondition, InvalidArgument, PermissionDenied, wrong_project
from devenv.gcp.messages import page, page_in_order
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.rpc.json_methods import JsonAnswer, json_answer
from devenv.gcp.store import Store

manager = client_types("google.cloud.resourcemanager_v3")
usage = client_types("google.cloud.service_usage_v1")

Project: Any = manager.Project.pb()
Service: Any = usage.Service.pb()
Handler: TypeAlias = Callable[[Any, ApiCall], Awaitable[Any]]

EMULATED = {
    "artifactregistry": "Artifact Registry API",
    "billingbudgets": "Cloud Billing Budget API",
    "cloudresourcemanager": "Cloud Resource Manager API",
    "cloudscheduler": "Cloud Scheduler API",
    "cloudtasks": "Cloud Tasks API",
    "cloudtrace": "Cloud Trace API",
    "compute": "Compute Engine API",
    "iam": "Identity and Access Management (IAM) API",
    "iamcredentials": "IAM Service Account Credentials API",
    "logging": "Cloud Logging API",
    "monitoring": "Cloud Monitoring API",
    "pubsub": "Cloud Pub/Sub API",
    "run": "Cloud Run Admin API",
    "secretmanager": "Secret Manager API",
    "servicenetworking": "Service Networking API",
    "serviceusage": "Service Usage API",
    "storage": "Cloud Storage API",
    "sql-component": "Cloud SQL",  # gcloud looks whether it is enabled
    "sqladmin": "Cloud SQL Admin API",
    "sts": "Security Token Service API",
    "telemetry": "Telemetry (OTLP) API",
}
_DONE = "operations/noop.DONE_OPERATION"  # Google's name for an operation that is done already
_CREATED = 1_577_836_800  # 2020; the moment is of no use, but clients read it
_MOST_AT_ONCE = 20
_LARGEST_PAGE = 200
_QUERY = re.compile(r"(?:(?:projectId|id|name|displayName)[:=])?\"?([^\s\"*]+)\*?\"?")


class ResourceManagerApi:
    """google.cloud.resourcemanager.v3.Projects, and the v1 of it, without the IAM policies."""

    def __init__(self, config: CloudConfig, guard: Guard) -> None:
        self._config = config
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        service = "google.cloud.resourcemanager.v3.Projects"
        wanted, lists = manager.GetProjectRequest.pb(), manager.ListProjectsRequest.pb()
        listed, search = manager.ListProjectsResponse.pb(), manager.SearchProjectsRequest.pb()
        get = HttpRule("GET", "/v3/{name=projects/*}")
        yield Rpc(f"{service}/GetProject", wanted, Project, self.get, (get,))
        rule = HttpRule("GET", "/v3/projects")
        yield Rpc(f"{service}/ListProjects", lists, listed, self.list, (rule,))
        found, rule = manager.SearchProjectsResponse.pb(), HttpRule("GET", "/v3/projects:search")
        yield Rpc(f"{service}/SearchProjects", search, found, self.search, (rule,))
        old, json = "google.cloudresourcemanager.v1.Projects", JsonAnswer
        rule = HttpRule("GET", "/v1/projects/{name=*}")
        yield Rpc(f"{old}/GetProject", wanted, json, self.get_v1, (rule,))
        # This request of another service has the parameters of the old method.
        lists, rule = usage.ListServicesRequest.pb(), HttpRule("GET", "/v1/projects")
        yield Rpc(f"{old}/ListProjects", lists, json, self.list_v1, (rule,))

    async def get(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.name.removeprefix("projects/"), call)
        return self._project()

    async def list(self, request: Any, call: ApiCall) -> Any:
        """List the projects of a parent: none, since the only project has no parent."""
        if not re.fullmatch(r"(organizations|folders)/[0-9]+", request.parent):
            raise InvalidArgument("parent must be organizations/NUMBER or folders/NUMBER.")
        raise PermissionDenied("The caller does not have permission")

    async def search(self, request: Any, call: ApiCall) -> Any:
        """Return the project if the caller may read it and the query does not exclude it."""
        kept = [self._project()] if self._is_found(request.query, call) else []
        names, token = page_in_order([each.name for each in kept], request, most=_LARGEST_PAGE)
        return manager.SearchProjectsResponse.pb()(
            projects=[each for each in kept if each.name in names], next_page_token=token
        )

    async def get_v1(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.name, call)
        return json_answer(self._v1())

    async def list_v1(self, request: Any, call: ApiCall) -> Any:
        return json_answer(
            {"projects": [self._v1()]} if self._is_found(request.filter, call) else {}
        )

    def _allow(self, name: str, call: ApiCall) -> None:
        if name not in (self._config.project, self._config.number):
            # Google does not tell a missing project from one that the caller may not see.
            raise wrong_project(name[:100], "cloudresourcemanager.googleapis.com")
        resource = f"projects/{self._config.project}"
        self._guard.require(call.caller, "resourcemanager.projects.get", resource)

    def _is_found(self, query: str, call: ApiCall) -> bool:
        try:
            self._allow(self._config.project, call)
        except PermissionDenied:
            return False
        if not query or re.fullmatch(r"(lifecycleState|state)[:=]ACTIVE", query):
            return True
        if not (match := _QUERY.fullmatch(query)):
            raise InvalidArgument(
                f"The query {query[:100]!r} is not emulated; ask for id:NAME or projectId:NAME."
            )
        return self._config.project.startswith(match[1]) or match[1] == self._config.number

    def _project(self) -> Any:
        project = Project(
            name=f"projects/{self._config.number}",
            project_id=self._config.project,
            display_name=self._config.project,
            state=manager.Project.State.ACTIVE,
            etag='W/"1"',
        )
        project.create_time.seconds = project.update_time.seconds = _CREATED
        return project

    def _v1(self) -> dict[str, Any]:
        return {
            "projectNumber": self._config.number,
            "projectId": self._config.project,
            "lifecycleState": "ACTIVE",
            "name": self._config.project,
            "createTime": "2020-01-01T00:00:00Z",
        }


class ServiceUsageApi:
    """google.api.serviceusage.v1.ServiceUsage; the operations of changes are done at once."""

    def __init__(self, config: CloudConfig, guard: Guard, store: Store) -> None:
        self._config = config
        self._guard = guard
        self._disabled = store.table("serviceusage_disabled")

    def rpcs(self) -> Iterator[Rpc]:
        services, one = "/v1/{parent=*/*}/services", "/v1/{name=*/*/services/*}"
        operation = operations_pb2.Operation
        lists, some = usage.ListServicesResponse.pb(), usage.BatchGetServicesResponse.pb()
        methods: tuple[tuple[str, Any, Handler, HttpRule], ...] = (
            ("EnableService", operation, self.enable, HttpRule("POST", f"{one}:enable", "*")),
            ("DisableService", operation, self.disable, HttpRule("POST", f"{one}:disable", "*")),
            ("GetService", Service, self.get, HttpRule("GET", one)),
            ("ListServices", lists, self.list_services, HttpRule("GET", services)),
            (
                "BatchEnableServices",
                operation,
                self.enable_all,
                HttpRule("POST", f"{services}:batchEnable", "*"),
            ),
            ("BatchGetServices", some, self.get_all, HttpRule("GET", f"{services}:batchGet")),
        )
        for name, response, handle, rule in methods:
            request = getattr(usage, f"{name}Request").pb()
            service = "google.api.serviceusage.v1.ServiceUsage"
            yield Rpc(f"{service}/{name}", request, response, handle, (rule,))

    async def enable(self, request: Any, call: ApiCall) -> Any:
        (name,) = self._change(call, "enable", [request.name])
        return _done(usage.EnableServiceResponse.pb()(service=self._service(name)))

    async def disable(self, request: Any, call: ApiCall) -> Any:
        (name,) = self._change(call, "disable", [request.name])
        return _done(usage.DisableServiceResponse.pb()(service=self._service(name)))

    async def enable_all(self, request: Any, call: ApiCall) -> Any:
        parent = self._project(request.parent)
        if not 0 < len(request.service_ids) <= _MOST_AT_ONCE:
            raise InvalidArgument(f"service_ids must have 1 to {_MOST_AT_ONCE} names.")
        wanted = [f"{parent}/services/{name}" for name in request.service_ids]
        names = self._change(call, "enable", wanted)
        answer = usage.BatchEnableServicesResponse.pb()
        return _done(answer(services=[self._service(name) for name in names]))

    async def get(self, request: Any, call: ApiCall) -> Any:
        (name,) = self._read(call, "get", [request.name])
        return self._service(name)

    async def get_all(self, request: Any, call: ApiCall) -> Any:
        names = self._read(call, "get", request.names)
        return usage.BatchGetServicesResponse.pb()(services=[self._service(n) for n in names])

    async def list_services(self, request: Any, call: ApiCall) -> Any:
        resource = self._project(request.parent)
        self._guard.require(call.caller, "serviceusage.services.list", resource)
        states = {"": (True, False), "state:ENABLED": (True,), "state:DISABLED": (False,)}
        if request.filter not in states:
            raise InvalidArgument("filter must be state:ENABLED or state:DISABLED.")
        kept = [name for name in EMULATED if self._is_enabled(name) in states[request.filter]]
        names, token = page(
            kept, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        return usage.ListServicesResponse.pb()(
            services=[self._service(name) for name in names], next_page_token=token
        )

    def _change(self, call: ApiCall, verb: str, names: Iterable[str]) -> list[str]:
        """Enable or disable services, all or none; return their short names."""
        short = self._read(call, verb, names)
        for name in short:
            if verb == "disable":
                self._disabled.put(name, b"")
            else:
                self._disabled.delete(name)
        return short

    def _read(self, call: ApiCall, verb: str, names: Iterable[str]) -> list[str]:
        """Return the short names of services that the caller may use so."""
        found = []
        for name in names:
            place, _, service = name.partition("/services/")
            resource = self._project(place)
            self._guard.require(call.caller, f"serviceusage.services.{verb}", resource)
            short = service.removesuffix(".googleapis.com")
            if short not in EMULATED:
                known = ", ".join(sorted(EMULATED))
                raise FailedPrecondition(
                    f"Service {service[:100]} is not emulated; known are {known}."
                )
            found.append(short)
        return found

    def _project(self, place: str) -> str:
        name = place.removeprefix("projects/")
        if name not in (self._config.project, self._config.number):
            raise wrong_project(name[:100], "serviceusage.googleapis.com")
        return f"projects/{self._config.project}"

    def _is_enabled(self, name: str) -> bool:
        return self._disabled.get(name) is None

    def _service(self, name: str) -> Any:
        full, parent = f"{name}.googleapis.com", f"projects/{self._config.number}"
        state = usage.State.ENABLED if self._is_enabled(name) else usage.State.DISABLED
        service = Service(name=f"{parent}/services/{full}", parent=parent, state=state)
        service.config.name, service.config.title = full, EMULATED[name]
        return service


def _done(answer: Any) -> Any:
    operation = operations_pb2.Operation(name=_DONE, done=True)
    operation.response.Pack(answer)
    return operation
