"""Methods of the Cloud SQL Admin API, with the paths of v1 and of v1beta4, which gcloud calls."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.rpc import HttpRule, Rpc

sqladmin = client_types("google.cloud.sqladmin_v1")

SqlHandler: TypeAlias = Callable[[Any, ApiCall], Awaitable[Any]]
INSTANCES = "projects/{project=*}/instances"
INSTANCE = f"{INSTANCES}/{{instance=*}}"


def sql_rpc(method: str, response: Any, handle: SqlHandler, verb: str, path: str) -> Rpc:
    """Return a method such as `Instances.Get` with its paths."""
    service, _, name = method.partition(".")
    request = getattr(sqladmin, f"Sql{service}{name}Request").pb()
    body = (
        "body"
        if verb in ("POST", "PATCH", "PUT") and "body" in request.DESCRIPTOR.fields_by_name
        else ""
    )
    rules = tuple(HttpRule(verb, f"/{version}/{path}", body) for version in ("v1", "sql/v1beta4"))
    return Rpc(f"google.cloud.sql.v1.Sql{service}Service/{name}", request, response, handle, rules)
