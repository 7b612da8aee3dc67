"""The secret of an attempt: who knows it has read the attempt's input envelope."""

import hmac
import secrets

from django.utils.crypto import salted_hmac


def new_nonce() -> str:
    """Return 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def digest(nonce: str) -> str:
    """Return what is kept of a nonce: it opens nothing without the application's key."""
    return salted_hmac("validibot.runs.nonce", nonce, algorithm="sha256").hexdigest()


def matches(nonce: str, expected: str) -> bool:
    return hmac.compare_digest(digest(nonce), expected)
