"""Artifact Registry v1: repositories, without what is in them.

After https://cloud.google.com/artifact-registry/docs/reference/rest. A deployment tool creates the
repository that its images are pushed to; here images are commands of devenv.toml or those of the
container engine, so that nothing is pushed. Operations are done at once.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, InvalidArgument, NotFound, Unimplemented, wrong_project
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.messages import every, masked, page, refuse_unemulated, set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

registry = client_types("google.cloud.artifactregistry_v1")

Repository: Any = registry.Repository.pb()
Handler: TypeAlias = Callable[[Any, ApiCall], Awaitable[Any]]

_PARENT = "/v1/{parent=projects/*/locations/*}/repositories"
_REPOSITORY = "projects/*/locations/*/repositories/*"
_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)(?:/repositories/([^/]+))?")
_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_FIELDS = every("name", "format_", "description", "labels", "mode")
_SETTABLE = {"description", "labels"}
_MULTI_REGIONS = ("us", "europe", "asia")
_STANDARD = int(registry.Repository.Mode.STANDARD_REPOSITORY)
_LARGEST_PAGE = 1000


class ArtifactRegistryService(CloudService):
    """google.devtools.artifactregistry.v1.ArtifactRegistry, as far as repositories go."""

    def __init__(self, *, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._config = config
        self._table = store.table("artifact_repositories")
        self._clock = clock
        self._guard = guard

    def rpcs(self) -> tuple[Rpc, ...]:
        name, operation = f"/v1/{{name={_REPOSITORY}}}", operations_pb2.Operation
        nested = f"/v1/{{repository.name={_REPOSITORY}}}"
        lists = registry.ListRepositoriesResponse.pb()
        methods: tuple[tuple[str, Any, Handler, HttpRule], ...] = (
            ("CreateRepository", operation, self.create, HttpRule("POST", _PARENT, "repository")),
            ("GetRepository", Repository, self.get, HttpRule("GET", name)),
            ("ListRepositories", lists, self.list_repositories, HttpRule("GET", _PARENT)),
            ("UpdateRepository", Repository, self.update, HttpRule("PATCH", nested, "repository")),
            ("DeleteRepository", operation, self.delete, HttpRule("DELETE", name)),
        )
        service = "google.devtools.artifactregistry.v1.ArtifactRegistry"
        return tuple(
            Rpc(
                f"{service}/{method}",
                getattr(registry, f"{method}Request").pb(),
                response,
                handle,
                (rule,),
            )
            for method, response, handle, rule in methods
        )

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        def find(resource: str) -> str:
            return str(self._existing(self._full(resource)).name)

        service = "google.devtools.artifactregistry.v1.ArtifactRegistry"
        path = f"/v1/{{resource={_REPOSITORY}}}"
        permission = "artifactregistry.repositories"
        return (PolicyKind(service, (path,), permission, find, reading="GET"),)

    async def create(self, request: Any, call: ApiCall) -> Any:
        parent = self._full(request.parent)
        self._allow(call, "create", parent)
        if not _ID.fullmatch(request.repository_id):
            raise InvalidArgument(
                f"repository_id {request.repository_id[:100]!r} must have lowercase letters, digits "
                "and hyphens, begin with a letter and end without a hyphen; at most 63."
            )
        given = request.repository
        refuse_unemulated(given, _FIELDS, where="repository")
        if not given.format_:
            raise InvalidArgument("repository.format is required, for example DOCKER.")
        if given.mode not in (0, _STANDARD):
            raise Unimplemented("repository.mode must be STANDARD_REPOSITORY.")
        name = f"{parent}/repositories/{request.repository_id}"
        if self._table.get(name) is not None:
            raise AlreadyExists("the repository already exists")
        repository = Repository()
        repository.CopyFrom(given)
        repository.name, repository.mode = name, _STANDARD
        kind = registry.Repository.Format(given.format_).name.lower()
        _, project, _, location, _, short = name.split("/")
        repository.registry_uri = f"{location}-{kind}.pkg.dev/{project}/{short}"
        set_moment(repository.create_time, self._clock.now())
        return self._done(self._put(repository))

    async def get(self, request: Any, call: ApiCall) -> Any:
        name = self._full(request.name)
        self._allow(call, "get", name)
        return self._existing(name)

    async def list_repositories(self, request: Any, call: ApiCall) -> Any:
        parent = self._full(request.parent)
        self._allow(call, "list", parent)
        if request.filter or request.order_by:
            raise Unimplemented("filter and order_by are not emulated.")
        found = dict(self._table.scan(f"{parent}/repositories/"))
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        return registry.ListRepositoriesResponse.pb()(
            repositories=[Repository.FromString(found[name]) for name in names],
            next_page_token=token,
        )

    async def update(self, request: Any, call: ApiCall) -> Any:
        name = self._full(request.repository.name)
        self._allow(call, "update", name)
        before = self._existing(name)
        if unknown := sorted(set(request.update_mask.paths) - _SETTABLE):
            raise InvalidArgument(f"update_mask names {unknown[0][:100]}; it cannot be changed.")
        wanted, mask = request.repository, request.update_mask
        if not mask.paths:
            mask.paths.extend(sorted(_SETTABLE))
        return self._put(masked(before, wanted, mask))

    async def delete(self, request: Any, call: ApiCall) -> Any:
        name = self._full(request.name)
        self._allow(call, "delete", name)
        self._existing(name)
        self._table.delete(name)
        self._guard.forget(name)
        return self._done(empty_pb2.Empty(), name=name)

    def _put(self, repository: Any) -> Any:
        set_moment(repository.update_time, self._clock.now())
        self._table.put(repository.name, repository.SerializeToString())
        return repository

    def _existing(self, name: str) -> Any:
        value = self._table.get(name)
        if value is None:
            raise NotFound(f'repository "{name}" not found')
        return Repository.FromString(value)

    def _full(self, text: str) -> str:
        """Return a name with the project's id. Raises InvalidArgument or PermissionDenied."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"{text[:200]!r} must be formatted: {_REPOSITORY}.")
        project, location, _ = match.groups()
        if project not in (self._config.project, self._config.number):
            raise wrong_project(project[:100], "artifactregistry.googleapis.com")
        if location not in (self._config.region, *_MULTI_REGIONS):
            raise InvalidArgument(f"Location {location[:100]} is not emulated.")
        _, _, below = text.split("/", 2)
        return f"projects/{self._config.project}/{below}"

    def _allow(self, call: ApiCall, verb: str, resource: str) -> None:
        self._guard.require(call.caller, f"artifactregistry.repositories.{verb}", resource)

    def _done(self, answer: Any, *, name: str = "") -> Any:
        location = (name or answer.name).rpartition("/repositories/")[0]
        operation = operations_pb2.Operation(name=f"{location}/operations/done", done=True)
        operation.metadata.Pack(registry.OperationMetadata.pb()())
        operation.response.Pack(answer)
        return operation
