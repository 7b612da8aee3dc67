"""HTTP targets of queues, which override parts of the requests of all their tasks.

See https://docs.cloud.google.com/tasks/docs/configure-queues.
"""

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from devenv.gcp.client_types import client_types
from devenv.gcp.delivery import clean_headers
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.messages import Emulated, every

tasks_v2 = client_types("google.cloud.tasks_v2")

HttpRequest: Any = tasks_v2.HttpRequest.pb()
_SCHEMES = {1: "http", 2: "https"}
_IF_NOT_EXISTS = 1
_BODIES = (1, 4, 5)  # POST, PUT, PATCH in a HttpMethod
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_MOST_PORT = 65_535
TARGET_FIELDS: Emulated = every(
    *("http_method", "header_overrides"),
    uri_override=every(
        *("scheme", "host", "port", "uri_override_enforce_mode"),
        path_override=every("path"),
        query_override=every("query_params"),
    ),
    oauth_token=every("service_account_email", "scope"),
    oidc_token=every("service_account_email", "audience"),
)


def complete_target(target: Any, agent: str) -> None:
    """Check the target of a queue, and leave out headers that only Google sets, in place."""
    uri = target.uri_override
    if uri.HasField("host") and not _HOST.fullmatch(uri.host):
        raise InvalidArgument("HttpTarget.uriOverride.host is not a valid host.")
    if not 0 <= uri.port <= _MOST_PORT:
        raise InvalidArgument("HttpTarget.uriOverride.port must be between 0 and 65535.")
    if target.HasField("oidc_token"):
        token = target.oidc_token
        _require("oidcToken", token.service_account_email and token.audience, "audience")
    if target.HasField("oauth_token"):
        token = target.oauth_token
        _require("oauthToken", token.service_account_email and token.scope, "scope")
    given = [(each.header.key, each.header.value) for each in target.header_overrides]
    kept = clean_headers(given, agent)
    del kept["User-Agent"]
    del target.header_overrides[:]
    for key, value in kept.items():
        target.header_overrides.add(header={"key": key, "value": value})


def overridden(request: Any, target: Any) -> Any:
    """Return a copy of the request of a task with what its queue overrides."""
    made = HttpRequest()
    made.CopyFrom(request)
    made.url = _url(request.url, target.uri_override)
    if target.http_method:
        made.http_method = target.http_method
        if target.http_method not in _BODIES:
            made.ClearField("body")
    for each in target.header_overrides:
        for name in [name for name in made.headers if name.lower() == each.header.key.lower()]:
            del made.headers[name]
        made.headers[each.header.key] = each.header.value
    if kind := target.WhichOneof("authorization_header"):
        getattr(made, kind).CopyFrom(getattr(target, kind))
    return made


def _url(url: str, override: Any) -> str:
    parts = urlsplit(url)
    always = override.uri_override_enforce_mode != _IF_NOT_EXISTS
    scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    if always:  # a URL always has these
        scheme = _SCHEMES.get(override.scheme, scheme)
        host = override.host or host
    if override.HasField("port") and (always or port is None):
        port = override.port or None
    path, query = parts.path, parts.query
    if override.HasField("path_override") and (always or path in ("", "/")):
        path = override.path_override.path
    if override.HasField("query_override") and (always or not query):
        query = override.query_override.query_params
    place = f"[{host}]" if ":" in host else host
    return urlunsplit((scheme, place if port is None else f"{place}:{port}", path, query, ""))


def _require(kind: str, whole: Any, second: str) -> None:
    if not whole:
        raise InvalidArgument(
            f"HttpTarget.{kind}: both serviceAccountEmail and {second} must be specified."
        )
