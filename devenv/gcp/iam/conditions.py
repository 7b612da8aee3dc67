"""Conditions of IAM bindings and access boundaries: CEL expressions about a request.

They are evaluated by Google's implementation of CEL with the attributes that IAM documents:
`resource.name`, `resource.type`, `resource.service`, `request.time` and
`api.getAttribute(NAME, DEFAULT)`, and with `extract`, which IAM adds to CEL's own functions. A
condition that does not compile, or does not evaluate to true, grants nothing.

See https://cloud.google.com/iam/docs/conditions-attribute-reference.
"""

import datetime as dt
from collections.abc import Mapping
from functools import cache, lru_cache

from cel_expr_python import cel

_LONGEST = 2048  # characters; https://cloud.google.com/iam/docs/conditions-overview
# Of each collection in a resource's full name the type; the service is its first part.
_TYPES = {
    "buckets": "storage.googleapis.com/Bucket",
    "instances": "sqladmin.googleapis.com/Instance",
    "jobs": "run.googleapis.com/Job",
    "projects": "cloudresourcemanager.googleapis.com/Project",
    "queues": "cloudtasks.googleapis.com/Queue",
    "secrets": "secretmanager.googleapis.com/Secret",
    "serviceAccounts": "iam.googleapis.com/ServiceAccount",
    "services": "run.googleapis.com/Service",
    "subscriptions": "pubsub.googleapis.com/Subscription",
    "topics": "pubsub.googleapis.com/Topic",
    "versions": "secretmanager.googleapis.com/SecretVersion",
}
_OBJECT = "storage.googleapis.com/Object"


def condition_holds(
    condition: str,
    resource: str,
    *,
    now: float | None = None,
    api: Mapping[str, str] | None = None,
) -> bool:
    """Return whether `condition` is true of a request for the resource of this full name.

    `now` is in Unix seconds; without it `request.time` is unknown, as in an access boundary. `api`
    holds what `api.getAttribute` finds.
    """
    expression = _compiled(condition)
    if expression is None:
        return False
    kind = resource_type(resource)
    values = {
        "resource": {"name": resource, "type": kind, "service": kind.partition("/")[0]},
        "request": {} if now is None else {"time": dt.datetime.fromtimestamp(now, dt.UTC)},
        "api": dict(api or {}),
    }
    try:
        result = expression.eval(_environment().Activation(values))
    except RuntimeError:  # a budget of the evaluator is used up
        return False
    return result.type() == cel.Type.BOOL and result.value() is True


def is_condition(text: str) -> bool:
    """Return whether `text` is a condition: an expression that can be true or false."""
    return _compiled(text) is not None


def resource_type(name: str) -> str:
    """Return the type of the resource of this full name, empty if none is known."""
    if "/objects/" in name and name.startswith("projects/_/buckets/"):
        return _OBJECT
    parts = name.split("/")
    return _TYPES.get(parts[-2], "") if len(parts) > 1 else ""


@lru_cache(maxsize=1024)
def _compiled(condition: str) -> cel.Expression | None:
    if len(condition) > _LONGEST or "\0" in condition:
        return None
    try:
        expression = _environment().compile(condition)
    except RuntimeError:
        return None
    return expression if expression.return_type() == cel.Type.BOOL else None


@cache
def _environment() -> cel.Env:
    text = cel.Type.STRING
    attributes = cel.Type.Map(text, text)
    get_attribute = cel.Overload(
        id="api_get_attribute",
        return_type=text,
        parameters=[attributes, text, text],
        is_member=True,
        impl=lambda api, name, default: api.get(name, default),
    )
    extract = cel.Overload(
        id="string_extract",
        return_type=text,
        parameters=[text, text],
        is_member=True,
        impl=_extract,
    )
    return cel.NewEnv(
        variables={
            "resource": attributes,
            "request": cel.Type.Map(text, cel.Type.TIMESTAMP),
            "api": attributes,
        },
        functions=[
            cel.FunctionDecl("getAttribute", [get_attribute]),
            cel.FunctionDecl("extract", [extract]),
        ],
    )


def _extract(value: str, template: str) -> str:
    """Return what stands in `value` for the `{name}` of a template such as `/secrets/{name}/`."""
    before, opened, rest = template.partition("{")
    _, closed, after = rest.partition("}")
    if not (opened and closed) or before not in value:
        return ""
    found = value.partition(before)[2] if before else value
    if not after:
        return found
    return found.partition(after)[0] if after in found else ""
