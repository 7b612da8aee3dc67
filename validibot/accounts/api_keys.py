"""API keys: shown once, kept as a keyed digest.

A key reads `vbk_1_<32 hex: public id>_<64 hex: secret>`. The public id finds the row; the digest is
HMAC-SHA256 of the whole text under `API_KEY_PEPPER`, so a stolen table opens nothing.
"""

import datetime as dt
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from validibot.accounts.models import ApiKey, Membership, User
from validibot.accounts.scope import Scope, membership_scope

LIFETIME = dt.timedelta(days=365)
# `last_used_at` is for people; one write an hour is enough.
_LAST_USED_INTERVAL = dt.timedelta(hours=1)
_FORMAT = re.compile(r"vbk_1_([0-9a-f]{32})_[0-9a-f]{64}")
_KEY_FIELDS = ("pk", "digest", "expires_at", "revoked_at", "last_used_at")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a key, and the scope in the organisation that the request names, for members."""

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

    With the slug of an organisation the membership comes in the same query.
    """
    match = _FORMAT.fullmatch(text)
    if not match:
        return None
    membership = _membership(match[1], organisation) if organisation else None
    if membership:
        key = ApiKey(**{name: getattr(membership, f"key_{name}") for name in _KEY_FIELDS})
        user = membership.user
    else:
        found = ApiKey.objects.select_related("user").filter(public_id=match[1]).first()
        if found is None:
            return None
        key, user = found, found.user
    if not _is_valid(key, text) or not user.is_active:
        return None
    _note_use(key)
    return Caller(user, membership_scope(membership) if membership else None)


def revoke(user: User, pk: int) -> bool:
    """Revoke a key of `user`; return whether there was one."""
    own = ApiKey.objects.filter(user=user, pk=pk, revoked_at=None)
    return own.update(revoked_at=timezone.now()) == 1


def _membership(public_id: str, organisation: str) -> Membership | None:
    """Return the membership of a key's user, with the key's fields as `key_…`."""
    return (
        Membership.objects.select_related("organisation", "user")
        .filter(organisation__slug=organisation, user__api_keys__public_id=public_id)
        .annotate(**{f"key_{name}": F(f"user__api_keys__{name}") for name in _KEY_FIELDS})
        .first()
    )


def _is_valid(key: ApiKey, text: str) -> bool:
    if not hmac.compare_digest(key.digest, _digest(text)):
        return False
    return key.revoked_at is None and key.expires_at > timezone.now()


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _LAST_USED_INTERVAL:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _digest(text: str) -> str:
    pepper = settings.API_KEY_PEPPER.encode()
    return hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()
