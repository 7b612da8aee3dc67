"""The two token endpoints: a token or a signed JWT in, an access or ID token out.

`sts.googleapis.com/v1/token` (RFC 8693) takes the JWT of another issuer for the access token of a
principal, if its audience is the provider of a workload identity pool, and downscopes an access token
otherwise. `google.auth.downscoped` posts
a form with the Credential Access Boundary, percent-encoded JSON, in `options`, and sends no
Authorization header. `oauth2.googleapis.com/token` takes a JWT that a service account's key signed
(RFC 7523), as every Google client does with a key file: with `scope` it answers an access token,
with `target_audience` an ID token.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.identity.federation import Federation, FederationProblem
from devenv.gcp.identity.identity import LIFETIME, Identity
from devenv.gcp.journal import note_caller
from devenv.gcp.rpc import HttpMount
from devenv.gcp.rpc.rest import failure, parse_object, read_body

TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no secret
# Node's storage client still brings a library that uses this address, whatever the key file says.
_OLD_TOKEN_URI = "https://www.googleapis.com/oauth2/v4/token"  # noqa: S105
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, no secret
_JWT_TYPES = (
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
)
_MOST_RULES = 10
_MOST_FIELDS = 20
_LARGEST = 65_536

_Form: TypeAlias = Mapping[str, str]


class BadExchange(Exception):
    """Raised for a request that cannot be granted; `code` is OAuth's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def mounts(identity: Identity, federation: Federation) -> tuple[HttpMount, ...]:
    """Return the token endpoints of `identity`."""

    async def exchange(form: _Form) -> dict[str, Any]:
        if form.get("grant_type") != _EXCHANGE:
            raise BadExchange("unsupported_grant_type", f"grant_type must be {_EXCHANGE}.")
        if form.get("audience"):
            return await _federate(identity, federation, form)
        return _downscope(identity, form)

    async def redeem(form: _Form) -> dict[str, Any]:
        return _redeem(identity, form)

    return (
        _mount("sts.googleapis.com", "/v1/token", exchange),
        _mount("oauth2.googleapis.com", "/token", redeem),
        _mount("www.googleapis.com", "/oauth2/v4/token", redeem),
    )


def _mount(host: str, path: str, grant: Callable[[_Form], Awaitable[dict[str, Any]]]) -> HttpMount:
    async def token(request: Request) -> Response:
        try:
            content = await read_body(request, limit=_LARGEST)
            is_json = request.headers.get("content-type", "").startswith("application/json")
            form = _json_form(content) if is_json else _form(content)
            return JSONResponse(await grant(form))
        except (BadExchange, FederationProblem) as error:
            refusal = {"error": error.code, "error_description": str(error)}
            return JSONResponse(refusal, 400)
        except InvalidArgument as error:
            return failure(error)

    app = Starlette(routes=[Route(path, token, methods=["POST"])])
    name = f"{host.partition('.')[0]}.token".replace("www.", "oauth2.")
    return HttpMount((host,), app, (path,), method=lambda _verb, _path: name, methods=(name,))


async def _federate(identity: Identity, federation: Federation, form: _Form) -> dict[str, Any]:
    """Return the access token of the principal that a JWT of another issuer shows."""
    if form.get("requested_token_type", _ACCESS_TOKEN) != _ACCESS_TOKEN:
        raise BadExchange("invalid_request", f"requested_token_type must be {_ACCESS_TOKEN}.")
    if form.get("subject_token_type") not in _JWT_TYPES:
        raise BadExchange(
            "invalid_request", f"subject_token_type must be {' or '.join(_JWT_TYPES)}."
        )
    scopes = tuple(form.get("scope", "").split())
    granted = await federation.grant(form["audience"], form.get("subject_token", ""), scopes)
    note_caller(granted.caller.email)
    lifetime = max(1, min(LIFETIME, int(granted.remaining)))
    return {
        "access_token": identity.token_of(granted.caller, lifetime=lifetime, primary=True),
        "issued_token_type": _ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": lifetime,
    }


def _downscope(identity: Identity, form: _Form) -> dict[str, Any]:
    for field in ("subject_token_type", "requested_token_type"):
        if form.get(field, _ACCESS_TOKEN) != _ACCESS_TOKEN:
            raise BadExchange("invalid_request", f"{field} must be {_ACCESS_TOKEN}.")
    for field in ("actor_token", "scope", "resource"):
        if form.get(field):
            raise BadExchange("invalid_request", f"{field} is not emulated.")
    grant = identity.grant(form.get("subject_token", ""))
    if grant is None:
        raise BadExchange("invalid_grant", "The subject_token is not a live access token.")
    note_caller(grant.caller.email)
    if grant.caller.boundary:
        raise BadExchange("invalid_grant", "A downscoped token cannot be downscoped again.")
    return {
        "access_token": identity.token_of(
            replace(grant.caller, boundary=read_boundary(form.get("options", ""))),
            lifetime=identity.remaining(grant),
        ),
        "issued_token_type": _ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": int(identity.remaining(grant)),
    }


def _redeem(identity: Identity, form: _Form) -> dict[str, Any]:
    if form.get("grant_type") != _JWT_BEARER:
        raise BadExchange("unsupported_grant_type", f"Invalid grant_type: use {_JWT_BEARER}.")
    claims = identity.assertion(form.get("assertion", ""))
    if claims is None or claims.get("aud") not in (TOKEN_URI, _OLD_TOKEN_URI):
        raise BadExchange("invalid_grant", "Invalid JWT Signature.")
    email = str(claims["iss"])
    note_caller(email)
    if claims.get("sub", email) != email:
        raise BadExchange("unauthorized_client", "Domain-wide delegation is not emulated.")
    if audience := claims.get("target_audience"):
        return {"id_token": identity.id_token(email, str(audience))}
    scopes = tuple(str(claims.get("scope", "")).split())
    if not scopes:
        raise BadExchange("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    token = identity.access_token(email, scopes=scopes, primary=True)
    return {"access_token": token, "expires_in": LIFETIME - 1, "token_type": "Bearer"}


def _form(content: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(content.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise BadExchange("invalid_request", "The form cannot be read.") from error


def _json_form(content: bytes) -> dict[str, str]:
    """Return the fields of a request of Google's generated clients, whose names are in camelCase."""
    fields = parse_object(content)
    if not all(isinstance(value, str) for value in fields.values()):
        raise BadExchange("invalid_request", "The fields of the request must be texts.")
    return {re.sub("[A-Z]", r"_\g<0>", name).lower(): value for name, value in fields.items()}


def read_boundary(options: str) -> AccessBoundary:
    """Parse the `options` of a token exchange. Raises BadExchange."""
    try:
        rules = json.loads(unquote(options))["accessBoundary"]["accessBoundaryRules"]
        boundary = AccessBoundary(tuple(_rule(rule) for rule in rules))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadExchange("invalid_request", "The access boundary cannot be read.") from error
    if not 1 <= len(boundary.rules) <= _MOST_RULES:
        raise BadExchange("invalid_request", f"A boundary has 1 to {_MOST_RULES} rules.")
    return boundary


def _rule(rule: dict[str, Any]) -> tuple[str, tuple[str, ...], str]:
    condition = rule.get("availabilityCondition") or {}
    permissions = tuple(str(p) for p in rule["availablePermissions"])
    return str(rule["availableResource"]), permissions, str(condition.get("expression", ""))
