"""API keys: shown once, kept as a keyed digest.

A key reads `vbk_1_<32 hex: public id>_<64 hex: secret>`. The public id finds the row; the digest is
HMAC-SHA256 of the whole text under `API_KEY_PEPPER`, so a stolen table opens nothing.
"""

import datetime as dt
import hashlib
import hmac
import re
import secrets

from django.conf import settings
from django.utils import timezone

from validibot.accounts.models import ApiKey, User

LIFETIME = dt.timedelta(days=365)
# `last_used_at` is for people; one write an hour is enough.
_USE_GRAIN = dt.timedelta(hours=1)
_FORMAT = re.compile(r"vbk_1_([0-9a-f]{32})_[0-9a-f]{64}")


def generate() -> str:
    """Return the text of a new key."""
    return f"vbk_1_{secrets.token_hex(16)}_{secrets.token_hex(32)}"


def issue(user: User, name: str) -> tuple[ApiKey, str]:
    """Make a key for `user`; return its row and, for the only time, its text."""
    text = generate()
    return store(user, name, text), text


def store(user: User, name: str, text: str) -> ApiKey:
    """Keep the key `text`; storing it again renews it. Raises ValueError for a malformed key."""
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


def authenticate(text: str) -> User | None:
    """Return the active user behind the key `text`, or None."""
    match = _FORMAT.fullmatch(text)
    if not match:
        return None
    key = ApiKey.objects.select_related("user").filter(public_id=match[1]).first()
    now = timezone.now()
    if key is None or not hmac.compare_digest(key.digest, _digest(text)):
        return None
    if key.revoked_at or key.expires_at <= now or not key.user.is_active:
        return None
    if key.last_used_at is None or now - key.last_used_at > _USE_GRAIN:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key.user


def revoke(user: User, pk: int) -> bool:
    """End a key of `user`; return whether there was one to end."""
    own = ApiKey.objects.filter(user=user, pk=pk, revoked_at=None)
    return own.update(revoked_at=timezone.now()) == 1


def _digest(text: str) -> str:
    pepper = settings.API_KEY_PEPPER.encode()
    return hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()
