"""Tokens of links that are stored by a keyed digest only."""

import hashlib
import hmac
import secrets

from django.conf import settings


def new_token() -> str:
    """Return 256 random bits as text for a URL."""
    return secrets.token_urlsafe(32)


def keyed_digest(token: str, *, purpose: str) -> str:
    """Return the digest that is stored in place of a token, in hex; each purpose has its own.

    The key is `API_KEY_PEPPER`: a stolen table opens no link, and a new key ends all of them.
    """
    text = f"{purpose}:{token}".encode()
    return hmac.new(settings.API_KEY_PEPPER.encode(), text, hashlib.sha256).hexdigest()
