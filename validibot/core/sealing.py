"""Secrets in the database: encrypted with a key that is made from SECRET_KEY.

A copy of the database alone does not show them. A new SECRET_KEY makes them unreadable, unless the old
one stands in SECRET_KEY_FALLBACKS.
"""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class SealBroken(Exception):
    """The text cannot be decrypted: SECRET_KEY has changed, or somebody changed the row."""


def seal(text: str) -> str:
    """Return a text encrypted."""
    return _cipher().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Return the text of `seal`. Raises SealBroken."""
    try:
        return _cipher().decrypt(sealed).decode()
    except InvalidToken:
        raise SealBroken("A secret cannot be decrypted with this SECRET_KEY.") from None


def _cipher() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = (hashlib.sha256(f"validibot.core.sealing:{key}".encode()).digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
