"""The API of service keys: the API keys that an organisation owns.

A key makes and rotates only keys whose scopes it has itself, and the new key lives no longer than it does;
a key that rotates itself gets its lifetime again.
"""

import datetime as dt
from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from django.http import HttpResponse
from django.utils import timezone
from pydantic import BaseModel, Field
from rest_framework.request import Request

from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, KeyScope, Role
from validibot.accounts.scope import Scope
from validibot.api import schema
from validibot.api.access import scope_in
from validibot.api.base import ApiView, operation
from validibot.api.bodies import Body, read_body, refusals
from validibot.api.documents import ListPage, Name, respond
from validibot.api.lists import PathCursorPagination
from validibot.core.problems import ApiError

type Scopes = Annotated[list[KeyScope], Field(min_length=1, max_length=len(KeyScope))]


class NewKey(Body):
    """A service key to be created."""

    name: Name
    role: Literal["admin", "author", "executor", "results_viewer", "analytics_viewer", "viewer"]
    scopes: Scopes
    lifetime_days: int = Field(365, ge=1, le=365)


class KeyRotation(Body):
    """For how many days the replaced key goes on working."""

    overlap_days: int = Field(0, ge=0, le=30)


class KeyFields(BaseModel):
    """A key; its text is shown only once."""

    id: int
    name: str
    public_id: str = Field(description="The part of the key that is no secret.")
    scopes: list[str]
    created_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None
    is_valid: bool

    @classmethod
    def of_row(cls, key: ApiKey, **more: Any) -> Self:
        names = ("name", "public_id", "created_at", "expires_at", "revoked_at", "last_used_at")
        fields = {name: getattr(key, name) for name in (*names, "is_valid")}
        return cls(id=key.pk, scopes=key.scopes.split(), **fields, **more)


class KeyDocument(KeyFields):
    """A service key; its text is shown only once."""

    role: str

    @classmethod
    def of(cls, key: ApiKey, role: str, **more: Any) -> Self:
        return cls.of_row(key, role=role, **more)


class KeyWithToken(KeyDocument):
    """A service key with its text, for the only time."""

    token: str


class KeyPage(ListPage[KeyDocument]):
    """A page of service keys."""


class KeysView(ApiView):
    """The service keys of the organisation, newest first."""

    @operation(
        operation_id="list_keys",
        parameters=schema.PAGE,
        responses=schema.read(KeyPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        organisation = scope_in(request, org, "key.manage").organisation
        keys = api_keys.service_keys_of(organisation)
        roles = dict(organisation.memberships.values_list("user", "role"))
        return PathCursorPagination(keys, "-created_at").answer(
            request, lambda key: KeyDocument.of(key, roles.get(key.user_id, "")), KeyPage
        )

    @operation(
        operation_id="create_key",
        request=NewKey,
        responses=schema.answers(KeyWithToken, 413, 415, status=201),
    )
    def post(self, request: Request, org: str) -> HttpResponse:
        """Create a service key; the answer has its text, which is shown only once."""
        scope = scope_in(request, org, "key.manage")
        body = read_body(request, NewKey)
        check_key_scopes(scope.key, body.scopes)
        with refusals():
            key, token = api_keys.issue_for_service(
                scope.organisation,
                body.name,
                role=Role(body.role),
                scopes=list(body.scopes),
                lifetime=lifetime_by(scope.key, body.lifetime_days),
            )
        return respond(KeyWithToken.of(key, body.role, token=token), status=201)


class KeyRotateView(ApiView):
    """Replace a service key by a new one of the same role, scopes and lifetime.

    Another key's replacement does not outlive the key that makes the request.
    """

    @operation(
        operation_id="rotate_key",
        request=KeyRotation,
        responses=schema.answers(KeyWithToken, 413, 415, status=201),
    )
    def post(self, request: Request, org: str, key: int) -> HttpResponse:
        scope = scope_in(request, org, "key.manage")
        found = _find(scope, key)
        body = read_body(request, KeyRotation)
        check_key_scopes(scope.key, found.scopes.split())
        ends_by = scope.key.expires_at if scope.key and scope.key.pk != key else None
        with refusals():
            new, token = api_keys.rotate(
                api_keys.service_keys_of(scope.organisation),
                key,
                overlap=dt.timedelta(days=body.overlap_days),
                ends_by=ends_by,
            )
        return respond(KeyWithToken.of(new, _role(scope, new), token=token), status=201)


class KeyRevokeView(ApiView):
    """Revoke a service key; revoking it again changes nothing."""

    @operation(operation_id="revoke_key", request=None, responses=schema.answers(KeyDocument))
    def post(self, request: Request, org: str, key: int) -> HttpResponse:
        scope = scope_in(request, org, "key.manage")
        _find(scope, key)
        api_keys.revoke(api_keys.service_keys_of(scope.organisation), key)
        found = _find(scope, key)
        return respond(KeyDocument.of(found, _role(scope, found)))


def _find(scope: Scope, pk: int) -> ApiKey:
    found = api_keys.service_keys_of(scope.organisation).filter(pk=pk).first()
    if found is None:
        raise ApiError(404, "NOT_FOUND", f"There is no service key {pk} in this organisation.")
    return found


def _role(scope: Scope, key: ApiKey) -> str:
    return scope.organisation.memberships.get(user=key.user_id).role


def check_key_scopes(calling: ApiKey | None, wanted: Collection[str]) -> None:
    """Raise ApiError if a key would open more than the key that makes the request, if there is one."""
    missing = sorted(set(wanted) - set(calling.scopes.split())) if calling else []
    if missing:
        raise ApiError(
            403,
            "PERMISSION_DENIED",
            f"This API key has not the scope {' and '.join(missing)}, so it cannot make a key with"
            " it. Use a key that has it, or the page of keys.",
        )


def lifetime_by(calling: ApiKey | None, days: int) -> dt.timedelta:
    """Return the lifetime of a new key, which ends with the key that makes the request, if there is one."""
    lifetime = dt.timedelta(days=days)
    return min(lifetime, calling.expires_at - timezone.now()) if calling else lifetime
