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
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import ApiKey, KeyScope, Membership, Organisation, Role, User
from validibot.accounts.scope import Scope, scope_without_membership

LIFETIME = dt.timedelta(days=365)
# Valid keys of one person, and service keys of one organisation.
MAX_KEYS = 100
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
    """A key with its user, and the scope in the organisation that the request names, if there is one."""

    key: ApiKey
    user: User
    scope: Scope | None


def generate() -> str:
    """Return the text of a new key."""
    return f"vbk_1_{secrets.token_hex(16)}_{secrets.token_hex(32)}"


def issue(
    user: User,
    name: str,
    *,
    scopes: Sequence[str] = KeyScope.values,
    lifetime: dt.timedelta = LIFETIME,
) -> tuple[ApiKey, str]:
    """Create a key for `user`; return its row and, for the only time, its text."""
    text = generate()
    return store(user, name, text, scopes=scopes, lifetime=lifetime), text


def issue_for_user(
    user: User, name: str, *, scopes: Sequence[str], lifetime: dt.timedelta
) -> tuple[ApiKey, str]:
    """Create a key on behalf of a person, as `issue`. Raises ValidationError for a taken name."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # a double click makes one key
        _check_name(ApiKey.objects.filter(user=user), name)
        key, text = issue(user, name, scopes=scopes, lifetime=lifetime)
        audit.record(None, "key.created", key, {"scopes": (None, key.scopes)}, account=user)
        return key, text


def issue_for_service(
    organisation: Organisation,
    name: str,
    *,
    role: str,
    scopes: Sequence[str],
    lifetime: dt.timedelta,
) -> tuple[ApiKey, str]:
    """Create a service key that the organisation owns, with a role of its own.

    It acts as a service account, which is nobody's and so outlives the membership of its creator.
    Raises ValidationError for a taken name, and for the role of an owner.
    """
    if role == Role.OWNER:
        message = _("A service key cannot be an owner. Choose another role.")
        raise ValidationError({"role": message})
    with transaction.atomic():
        Organisation.locked(organisation.pk)
        _check_name(service_keys_of(organisation), name)
        account = f"{slugify(name)[:40] or 'service'}-{secrets.token_hex(4)}@service.invalid"
        user = User.objects.create_user(account, name=name, service_of=organisation)
        Membership.objects.create(organisation=organisation, user=user, role=role)
        key, text = issue(user, name, scopes=scopes, lifetime=lifetime)
        told = {"role": (None, role), "scopes": (None, key.scopes)}
        audit.record(organisation, "key.created", key, told)
        return key, text


def service_keys_of(organisation: Organisation) -> QuerySet[ApiKey]:
    """Return the keys that the organisation owns."""
    return ApiKey.objects.filter(user__service_of=organisation)


def store(
    user: User,
    name: str,
    text: str,
    *,
    scopes: Sequence[str] = KeyScope.values,
    lifetime: dt.timedelta = LIFETIME,
) -> ApiKey:
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
            "scopes": " ".join(scopes),
            "expires_at": timezone.now() + lifetime,
            "revoked_at": None,
            "replaced_by": None,
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
    return Caller(key, user, scope and scope.limited_to(key))


def revoke(keys: QuerySet[ApiKey], pk: int) -> bool:
    """Revoke one of `keys`; return whether there was a valid one."""
    with transaction.atomic():
        if not keys.filter(pk=pk, revoked_at=None).update(revoked_at=timezone.now()):
            return False
        _record(keys.select_related("user").get(pk=pk), "key.revoked")
        return True


@transaction.atomic
def rotate(
    keys: QuerySet[ApiKey], pk: int, *, overlap: dt.timedelta, ends_by: dt.datetime | None = None
) -> tuple[ApiKey, str]:
    """Replace one of `keys` by a new one of the same owner, name, scopes and lifetime.

    The old key goes on working for `overlap`, at most until it would have expired, and the new one ends
    by `ends_by`. Returns the new key and its text. Raises ApiKey.DoesNotExist, and ValidationError unless the key is valid and
    has not been replaced.
    """
    old = keys.select_for_update(of=("self",)).select_related("user").get(pk=pk)
    if not old.is_valid or old.replaced_by_id:
        message = _("%(name)s was replaced, has expired or is revoked. Create a new key.")
        raise ValidationError(message % {"name": old.name})
    lifetime = old.expires_at - old.created_at
    if ends_by:
        lifetime = min(lifetime, ends_by - timezone.now())
    new, text = issue(old.user, old.name, scopes=old.scopes.split(), lifetime=lifetime)
    old.replaced_by, old.expires_at = new, min(old.expires_at, timezone.now() + overlap)
    old.save(update_fields=["replaced_by", "expires_at"])
    _record(old, "key.rotated")
    return new, text


def _record(key: ApiKey, action: str) -> None:
    """Write to the audit log of the organisation or the person that owns the key."""
    owner = key.user.service_of_id
    audit.record(owner, action, key, account=None if owner else key.user)


def _check_name(keys: QuerySet[ApiKey], name: str) -> None:
    valid = keys.filter(revoked_at=None, replaced_by=None, expires_at__gt=timezone.now())
    if valid.filter(name__iexact=name).exists():
        message = _("There is a key %(name)s already. Choose another name, or rotate that key.")
        raise ValidationError({"name": message % {"name": name}})
    if valid.count() >= MAX_KEYS:
        message = _("There are %(count)d valid keys, which is the limit. Revoke one first.")
        raise ValidationError(message % {"count": MAX_KEYS})


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
