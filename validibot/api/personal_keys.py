"""The API of personal keys: the API keys of the user who makes the request.

A stolen key must not become a better one: a key makes and rotates only keys whose scopes it has itself,
and the new key lives no longer than it does. Acting on other keys needs the scope `manage`; each key may
revoke itself and rotate itself, for its lifetime again.
"""

import datetime as dt
from typing import Any, Self

from django.http import HttpResponse
from pydantic import Field
from rest_framework.request import Request

from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, KeyScope
from validibot.api import schema
from validibot.api.access import calling_key, check_key_scope, person_of, user_of
from validibot.api.base import ApiView, operation
from validibot.api.bodies import Body, read_body, refusals
from validibot.api.documents import ListPage, Name, respond
from validibot.api.keys import KeyFields, KeyRotation, Scopes, check_key_scopes, lifetime_by
from validibot.api.lists import PathCursorPagination
from validibot.core.problems import ApiError

_NO_PERSON = "A service key has no personal keys. Use `keys/` of its organisation."


class NewPersonalKey(Body):
    """A personal key to be created."""

    name: Name
    scopes: Scopes
    lifetime_days: int = Field(365, ge=1, le=365)


class PersonalKeyDocument(KeyFields):
    """A personal key; its text is shown only once."""

    is_current: bool = Field(description="Whether the request was made with this key.")

    @classmethod
    def of(cls, key: ApiKey, request: Request, **more: Any) -> Self:
        current = calling_key(request)
        return cls.of_row(key, is_current=current is not None and current.pk == key.pk, **more)


class PersonalKeyWithToken(PersonalKeyDocument):
    """A personal key with its text, for the only time."""

    token: str


class PersonalKeyPage(ListPage[PersonalKeyDocument]):
    """A page of personal keys."""


class PersonalKeysView(ApiView):
    """The keys of the user, newest first; a key without the scope `manage` sees only itself."""

    @operation(
        operation_id="list_my_keys", parameters=schema.PAGE, responses=schema.read(PersonalKeyPage)
    )
    def get(self, request: Request) -> HttpResponse:
        keys, current = user_of(request).api_keys.all(), calling_key(request)
        if current and KeyScope.MANAGE not in current.scopes.split():
            keys = keys.filter(pk=current.pk)
        pages = PathCursorPagination(keys, "-created_at")
        return pages.answer(
            request, lambda key: PersonalKeyDocument.of(key, request), PersonalKeyPage
        )

    @operation(
        operation_id="create_my_key",
        request=NewPersonalKey,
        responses=schema.answers(PersonalKeyWithToken, 413, 415, status=201),
    )
    def post(self, request: Request) -> HttpResponse:
        """Create a key; the answer has its text, which is shown only once."""
        person_of(request, _NO_PERSON)
        check_key_scope(request, KeyScope.MANAGE)
        body = read_body(request, NewPersonalKey)
        current = calling_key(request)
        check_key_scopes(current, body.scopes)
        lifetime = lifetime_by(current, body.lifetime_days)
        with refusals():
            key, token = api_keys.issue_for_user(
                user_of(request), body.name, scopes=list(body.scopes), lifetime=lifetime
            )
        return respond(PersonalKeyWithToken.of(key, request, token=token), status=201)


class PersonalKeyRotateView(ApiView):
    """Replace a key by a new one of the same scopes and lifetime.

    Another key's replacement does not outlive the key that makes the request.
    """

    @operation(
        operation_id="rotate_my_key",
        request=KeyRotation,
        responses=schema.answers(PersonalKeyWithToken, 413, 415, status=201),
    )
    def post(self, request: Request, key: int) -> HttpResponse:
        found = _find(request, key)
        current = calling_key(request)
        check_key_scopes(current, found.scopes.split())
        ends_by = current.expires_at if current and current.pk != key else None
        body = read_body(request, KeyRotation)
        overlap = dt.timedelta(days=body.overlap_days)
        with refusals():
            new, token = api_keys.rotate(
                user_of(request).api_keys.all(), key, overlap=overlap, ends_by=ends_by
            )
        return respond(PersonalKeyWithToken.of(new, request, token=token), status=201)


class PersonalKeyRevokeView(ApiView):
    """Revoke a key; revoking it again changes nothing."""

    @operation(
        operation_id="revoke_my_key", request=None, responses=schema.answers(PersonalKeyDocument)
    )
    def post(self, request: Request, key: int) -> HttpResponse:
        _find(request, key)
        api_keys.revoke(user_of(request).api_keys.all(), key)
        return respond(PersonalKeyDocument.of(_find(request, key), request))


def _find(request: Request, pk: int) -> ApiKey:
    """Return the key of the user that a path names. Raises ApiError."""
    user = person_of(request, _NO_PERSON)
    found: ApiKey | None = user.api_keys.filter(pk=pk).first()
    if found is None:
        raise ApiError(404, "NOT_FOUND", f"You have no API key {pk}.")
    current = calling_key(request)
    if current is None or current.pk != found.pk:
        check_key_scope(request, KeyScope.MANAGE)
    return found
