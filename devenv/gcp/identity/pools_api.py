"""Workload identity pools by API: `projects.locations.workloadIdentityPools` of IAM, by REST.

The operations of changes are done at once. Providers of OpenID Connect are emulated; those of AWS,
SAML and X.509 are refused by name.

See https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devenv.gcp.caller import Guard
from devenv.gcp.clock import Clock, rfc3339
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    AlreadyExists,
    CloudError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
    refuse_on_full_disk,
)
from devenv.gcp.identity.federation import check_condition, check_mapping
from devenv.gcp.identity.identity import Identity
from devenv.gcp.identity.pools import KEPT, PoolRecord
from devenv.gcp.messages import page
from devenv.gcp.rpc import HttpMount
from devenv.gcp.rpc.rest import failure, json_names, parse_object, read_body

_ID = re.compile(r"(?!gcp-)[a-z0-9-]{4,32}")
_LARGEST = 1 << 20
_LARGEST_PAGE = 100
_MOST_AUDIENCES, _LONGEST_AUDIENCE = 10, 256
_HOSTS = ("iam.googleapis.com",)
_VERBS = {"POST": "create", "PATCH": "update", "DELETE": "delete"}
_METHODS = ("create", "delete", "get", "list", "undelete", "update")
_OUTPUT_ONLY = ("name", "state", "expireTime")
_OF_OIDC = ("issuerUri", "allowedAudiences", "jwksJson")
_KINDS = ("workloadIdentityPools", "workloadIdentityPoolProviders")

Handler: TypeAlias = Callable[[Request, str], Awaitable[Response]]


class PoolsApi:
    """The methods for the pools of one project."""

    def __init__(self, config: CloudConfig, identity: Identity, guard: Guard, clock: Clock) -> None:
        self._project = config.project
        self._prefixes = tuple(
            f"/v1/projects/{name}/locations/global/workloadIdentityPools"
            for name in (config.project, config.number)
        )
        self._identity = identity
        self._pools = identity.pools
        self._guard = guard
        self._clock = clock

    def mounts(self) -> tuple[HttpMount, ...]:
        """Return the app under its paths; the other methods of IAM are served elsewhere."""
        routes = [
            Route(f"{prefix}{path}", self._endpoint(handle), methods=[verb])
            for prefix in self._prefixes
            for path, verb, handle in (
                ("", "GET", self.list),
                ("", "POST", self.create),
                ("/{pool}/providers", "GET", self.list),
                ("/{pool}/providers", "POST", self.create),
                ("/{key:path}:undelete", "POST", self.undelete),
                ("/{key:path}/operations/{operation}", "GET", self.operation),
                ("/{key:path}", "GET", self.get),
                ("/{key:path}", "PATCH", self.update),
                ("/{key:path}", "DELETE", self.delete),
            )
        ]
        names = tuple(f"iam.{kind}.{verb}" for kind in _KINDS for verb in _METHODS)
        return (HttpMount(_HOSTS, Starlette(routes=routes), self._prefixes, _method, names),)

    async def list(self, request: Request, pool: str) -> Response:
        """List pools, or the providers of a pool; deleted ones with `showDeleted`."""
        query, kind = request.query_params, _KINDS[bool(pool)]
        self._allow(request, pool, kind, "list")
        if pool:
            self._find(pool)
        deleted = query.get("showDeleted", "").lower() == "true"
        now = self._clock.now()
        found = {r.key: r for r in self._pools.below(pool, now=now) if deleted or not r.deleted}
        size = query.get("pageSize", "0")
        if not (size.isdecimal() and len(size) < 9):
            raise InvalidArgument(f"pageSize is {size[:40]!r}; it must be a number.")
        token = query.get("pageToken", "")
        keys, following = page(found, size=int(size), token=token, most=_LARGEST_PAGE)
        answer: dict[str, Any] = {kind: [self._resource(found[key]) for key in keys]}
        return JSONResponse(answer | ({"nextPageToken": following} if following else {}))

    async def create(self, request: Request, pool: str) -> Response:
        kind = _KINDS[bool(pool)]
        self._allow(request, pool, kind, "create")
        parameter = f"{kind[:1]}{kind[1:].removesuffix('s')}Id"
        own = request.query_params.get(parameter, "")
        if not _ID.fullmatch(own):
            raise InvalidArgument(
                f"{parameter} is {own[:60]!r}; it must have 4 to 32 lower-case letters, digits and "
                "hyphens, and not begin with gcp-."
            )
        if pool and self._find(pool).deleted:
            raise FailedPrecondition(f"The pool {pool} is deleted.")
        key = f"{pool}/providers/{own}" if pool else own
        list(self._pools.below(pool, now=self._clock.now()))  # old ones give their ids back
        if self._pools.get(key):
            raise AlreadyExists(f"Requested entity already exists: {key}")
        settings = _settings(await _body(request), is_provider=bool(pool))
        return self._operation(self._pools.put(PoolRecord(key, settings)))

    async def get(self, request: Request, key: str) -> Response:
        self._allow(request, key, _kind(key), "get")
        return JSONResponse(self._resource(self._find(key)))

    async def update(self, request: Request, key: str) -> Response:
        """Change the settings that `updateMask` names, of `oidc` and mappings also one alone."""
        self._allow(request, key, _kind(key), "update")
        record = self._live(key)
        body = await _body(request)
        if unknown := body.keys() - _KNOWN:
            raise Unimplemented(f"The field {min(unknown)[:100]} is not emulated.")
        mask = [path for path in request.query_params.get("updateMask", "").split(",") if path]
        given = dict(record.settings)
        for path in mask or body:
            _replace(given, body, path)
        settings = _settings(given, is_provider="/" in key)
        return self._operation(self._pools.put(replace(record, settings=settings)))

    async def delete(self, request: Request, key: str) -> Response:
        self._allow(request, key, _kind(key), "delete")
        record = replace(self._live(key), deleted=self._clock.now())
        return self._operation(self._pools.put(record))

    async def undelete(self, request: Request, key: str) -> Response:
        self._allow(request, key, _kind(key), "undelete")
        record = self._find(key)
        if not record.deleted:
            raise FailedPrecondition(f"{key} is not deleted.")
        return self._operation(self._pools.put(replace(record, deleted=0.0)))

    async def operation(self, request: Request, key: str) -> Response:
        """Return a finished operation; its resource has to be read again."""
        self._allow(request, key, _kind(key), "get")
        self._find(key)
        return JSONResponse({"name": request.url.path.removeprefix("/v1/"), "done": True})

    def _endpoint(self, handle: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            path = request.path_params
            try:
                with refuse_on_full_disk(request.url.path):
                    return await handle(request, path.get("key", path.get("pool", "")))
            except CloudError as error:
                return failure(error)

        return endpoint

    def _allow(self, request: Request, key: str, kind: str, verb: str) -> None:
        caller = self._identity.caller(dict(request.headers))
        self._guard.require(caller, f"iam.{kind}.{verb}", f"projects/{self._project}")

    def _find(self, key: str) -> PoolRecord:
        record = self._pools.get(key)
        if record is None or (record.deleted and record.deleted + KEPT <= self._clock.now()):
            raise NotFound(f"Requested entity was not found: {key[:200]}")
        return record

    def _live(self, key: str) -> PoolRecord:
        record = self._find(key)
        if record.deleted:
            raise FailedPrecondition(f"{key} is deleted; undelete it first.")
        return record

    def _resource(self, record: PoolRecord) -> dict[str, Any]:
        resource = {
            "name": f"{self._pools.name}/{record.key}",
            "state": "DELETED" if record.deleted else "ACTIVE",
            **record.settings,
        }
        if record.deleted:
            resource["expireTime"] = rfc3339(record.deleted + KEPT)
        return resource

    def _operation(self, record: PoolRecord) -> Response:
        kind = "WorkloadIdentityPoolProvider" if "/" in record.key else "WorkloadIdentityPool"
        response = {"@type": f"type.googleapis.com/google.iam.v1.{kind}", **self._resource(record)}
        name = f"{self._pools.name}/{record.key}/operations/done"
        return JSONResponse({"name": name, "done": True, "response": response})


def _kind(key: str) -> str:
    return _KINDS["/" in key]


def _method(verb: str, path: str) -> str:
    """Return the name of a request's method: `iam.workloadIdentityPools.create`."""
    rest = path.partition("/workloadIdentityPools")[2].strip("/")
    kind = _KINDS["/providers" in f"/{rest}"]
    if verb == "GET":
        return f"iam.{kind}.{'list' if rest == '' or rest.endswith('/providers') else 'get'}"
    return f"iam.{kind}.{'undelete' if path.endswith(':undelete') else _VERBS.get(verb, verb)}"


async def _body(request: Request) -> dict[str, Any]:
    return parse_object(await read_body(request, limit=_LARGEST))


def _replace(settings: dict[str, Any], body: Mapping[str, Any], path: str) -> None:
    """Give the setting at `path` of an update mask the value of `body`, none if it has none there."""
    outer, _, inner = path.partition(".")
    name = json_names(outer)
    if name == "oidc":
        inner = json_names(inner)
    has_inner = inner in _OF_OIDC if name == "oidc" else name == "attributeMapping"
    if name not in _KNOWN or (inner and not has_inner):
        raise InvalidArgument(
            f"updateMask names {path[:100]!r}, which is no field that can change."
        )
    if not inner or not isinstance(body.get(name, {}), dict):
        settings.pop(name, None)
        settings |= {name: body[name]} if name in body else {}
        return
    values = {key: value for key, value in settings.get(name, {}).items() if key != inner}
    new = body.get(name, {})
    settings[name] = values | ({inner: new[inner]} if inner in new else {})


def _settings(given: Mapping[str, Any], *, is_provider: bool) -> dict[str, Any]:
    """Return the settings that a caller sent, without what the service decides. Raises CloudError."""
    known = {**_OF_ALL, **_OF_PROVIDERS} if is_provider else _OF_ALL
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name in _OUTPUT_ONLY or value is None:
            continue
        if name not in known:
            raise Unimplemented(f"The field {name[:100]} is not emulated.")
        settings[name] = known[name](value)
    if is_provider:
        if "oidc" not in settings:
            raise InvalidArgument("oidc is missing; other kinds of providers are not emulated.")
        if "google.subject" not in settings.get("attributeMapping", {}):
            raise InvalidArgument("attributeMapping must have an entry for google.subject.")
    return settings


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"disabled is {str(value)[:60]!r}; it must be true or false.")
    return value


def _text(name: str, value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise InvalidArgument(f"{name} must be a text of at most {most} characters.")
    return value


def _oidc(value: Any) -> dict[str, Any]:
    """Return the settings of OpenID Connect. The issuer needs TLS, except on this machine."""
    if not isinstance(value, dict):
        raise InvalidArgument("oidc must be an object.")
    for name in value:
        if name not in _OF_OIDC:
            raise Unimplemented(f"The field oidc.{name[:100]} is not emulated.")
    issuer = _text("oidc.issuerUri", value.get("issuerUri", ""), 2000)
    if not re.match(r"https://[^/\s]+|http://(localhost|127\.0\.0\.1)(:\d+)?(/|$)", issuer):
        raise InvalidArgument(
            f"oidc.issuerUri is {issuer[:200]!r}; it must be an https:// address, or http:// on "
            "localhost."
        )
    audiences = value.get("allowedAudiences", [])
    if not isinstance(audiences, list) or len(audiences) > _MOST_AUDIENCES:
        raise InvalidArgument(f"oidc.allowedAudiences must be at most {_MOST_AUDIENCES} texts.")
    for audience in audiences:
        _text("oidc.allowedAudiences", audience, _LONGEST_AUDIENCE)
    keys = (
        {"jwksJson": _text("oidc.jwksJson", value["jwksJson"], 100_000)}
        if value.get("jwksJson")
        else {}
    )
    return {"issuerUri": issuer, "allowedAudiences": audiences, **keys}


_OF_ALL: Mapping[str, Callable[[Any], Any]] = {
    "description": lambda value: _text("description", value, 256),
    "disabled": _switch,
    "displayName": lambda value: _text("displayName", value, 32),
}
_OF_PROVIDERS: Mapping[str, Callable[[Any], Any]] = {
    "attributeMapping": check_mapping,
    "attributeCondition": check_condition,
    "oidc": _oidc,
}
_KNOWN = frozenset((*_OF_ALL, *_OF_PROVIDERS, *_OUTPUT_ONLY))
