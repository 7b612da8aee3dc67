"""The Security Token Service: an access token in, one with less power out (RFC 8693).

`google.auth.downscoped` posts a form with the Credential Access Boundary, percent-encoded JSON,
in `options`, and sends no Authorization header.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.identity.identity import Identity
from devenv.gcp.rpc import Mount, body
from devenv.gcp.rpc.rest import failure

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, no secret
_MOST_RULES = 10
_MOST_FIELDS = 20
_LARGEST = 65_536


class BadExchange(Exception):
    """The request cannot be granted; `code` is OAuth's word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def mount(identity: Identity) -> Mount:
    """Return the token exchange of `identity`."""

    async def token(request: Request) -> Response:
        try:
            form = _form(await body.read(request, limit=_LARGEST))
            return JSONResponse(_exchange(identity, form))
        except BadExchange as error:
            refusal = {"error": error.code, "error_description": str(error)}
            return JSONResponse(refusal, 400)
        except InvalidArgument as error:
            return failure(error)

    app = Starlette(routes=[Route("/v1/token", token, methods=["POST"])])
    return Mount(("sts.googleapis.com",), app, ("/v1/token",))


def _exchange(identity: Identity, form: Mapping[str, str]) -> dict[str, Any]:
    if form.get("grant_type") != _GRANT:
        raise BadExchange("unsupported_grant_type", f"grant_type must be {_GRANT}.")
    grant = identity.grant(form.get("subject_token", ""))
    if grant is None:
        raise BadExchange("invalid_grant", "The subject_token is not a live access token.")
    if grant.caller.boundary:
        raise BadExchange("invalid_grant", "A downscoped token cannot be downscoped again.")
    boundary = read_boundary(form.get("options", ""))
    return {
        "access_token": identity.access_token(
            grant.caller.email, lifetime=identity.remaining(grant), boundary=boundary
        ),
        "issued_token_type": _ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": int(identity.remaining(grant)),
    }


def _form(content: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(content.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise BadExchange("invalid_request", "The form cannot be read.") from error


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
