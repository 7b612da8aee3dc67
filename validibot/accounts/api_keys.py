"""API keys: shown once, kept as a keyed digest.

A key reads `vbk_1_<32 hex: public id>_<64 hex: secret>`. The public id finds the row; the digest is
HMAC-SHA256 of the whole text under `API_KEY_PEPPER`, so a stolen table opens nothing.
"""

import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model
from django.utils import timezone

from validibot.accounts.models import ApiKey, Organisation, User
from validibot.accounts.scope import Scope, scope_without_membership

LIFETIME = dt.timedelta(days=365)
# `last_used_at` is for people; one write an hour is enough.
_LAST_USED_INTERVAL = dt.timedelta(hours=1)
_FORMAT = re.compile(r"vbk_1_([0-9a-f]{32})_[0-9a-f]{64}")
_KEY_FIELDS = ("id", "digest", "expires_at", "revoked_at", "last_used_at", "scopes")
_USER_FIELDS = ("id", "email", "name", "is_active", "is_staff", "is_superuser")
_ORGANISATION_FIELDS = ("id", "slug", "name")
# Each request of a program begins with this; the ORM takes three times as long.
_LOAD = """
SELECT key.id, key.digest, key.expires_at, key.revoked_at, key.last_used_at, key.scopes,
    person.id, person.email, person.name, person.is_active, person.is_staff, person.is_superuser,
    organisation.id, organisation.slug, organisation.name, membership.role
FROM accounts_apikey key
JOIN accounts_user person ON person.id = key.user_id
LEFT JOIN accounts_organisation organisation ON organisation.slug = %s
LEFT JOIN accounts_membership membership
    ON membership.organisation_id = organisation.id AND membership.user_id = person.id
WHERE key.public_id = %s
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a key, and the scope in the organisation that the request names, if there is one."""

    user: User
    scope: Scope | None


def generate() -> str:
    """Return the text of a new key."""
    return f"vbk_1_{secrets.token_hex(16)}_{secrets.token_hex(32)}"


def issue(user: User, name: str) -> tuple[ApiKey, str]:
    """Create a key for `user`; return its row and, for the only time, its text."""
    text = generate()
    return store(user, name, text), text


def store(user: User, name: str, text: str) -> ApiKey:
    """Store the key `text`; storing it again renews it. Raises ValueError for a malformed key."""
    match = _FORMAT.fullmatch(text)
    if not match:
        raise ValueError("An API key reads vbk_1_<32 hex digits>_<64 hex digits>.")
    key, _ = ApiKey.objects.update_or_create(
        public_id=match[1],
        defaults={
            "user": user,
            "name": name,
            "digest": _digest(text),
            "expires_at": timezone.now() + LIFETIME,
            "revoked_at": None,
        },
    )
    return key


def authenticate(text: str, *, organisation: str = "") -> Caller | None:
    """Return the active user of the key `text`, or None.

    With the slug of an organisation the scope in it comes in the same query.
    """
    match = _FORMAT.fullmatch(text)
    if not match:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_LOAD, [organisation, match[1]])
        row = cursor.fetchone()
    if row is None:
        return None
    key, user = _row_of(ApiKey, _KEY_FIELDS, row), _row_of(User, _USER_FIELDS, row[6:])
    is_right = hmac.compare_digest(key.digest, _digest(text))
    if not (is_right and key.is_valid and user.is_active):
        return None
    _note_use(key)
    scope = _scope(user, row[12:])
    return Caller(user, scope and scope.limited_to(key.scopes.split()))


def revoke(user: User, pk: int) -> bool:
    """Revoke a key of `user`; return whether there was one."""
    own = ApiKey.objects.filter(user=user, pk=pk, revoked_at=None)
    return own.update(revoked_at=timezone.now()) == 1


def _row_of[M: Model](model: type[M], fields: tuple[str, ...], row: Sequence[Any]) -> M:
    """Return a row of `model` with these fields; others are read from the database when needed."""
    values = dict(zip(fields, row, strict=False))
    # Django takes values by the order of its fields, not by their names.
    ordered = [field.attname for field in model._meta.concrete_fields if field.attname in values]  # noqa: SLF001
    return model.from_db(DEFAULT_DB_ALIAS, ordered, [values[name] for name in ordered])


def _scope(user: User, row: Sequence[Any]) -> Scope | None:
    """Return the scope that the columns of organisation and role tell."""
    *_, role = row
    if row[0] is None:
        return None
    organisation = _row_of(Organisation, _ORGANISATION_FIELDS, row)
    if role is None:
        return scope_without_membership(user, organisation)
    return Scope.of_member(user, organisation, role)


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _LAST_USED_INTERVAL:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _digest(text: str) -> str:
    pepper = settings.API_KEY_PEPPER.encode()
    return hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()
