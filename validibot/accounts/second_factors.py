"""Encryption of the secrets of second factors in the database.

The key is derived from `API_KEY_PEPPER`, which is not in the database: a stolen table or backup gives
no codes. With another pepper no stored secret can be read; then no code is accepted, and an operator
removes the second factor of a user who asks.
"""

import base64
import logging
import secrets

from cryptography.fernet import Fernet, InvalidToken

from validibot.core.tokens import keyed_digest

# Every Fernet token begins with its version and the first bytes of its time; no stored secret does.
_ENCRYPTED = "gAAAA"

logger = logging.getLogger(__name__)


def encrypt(text: str) -> str:
    """Return a secret as it is stored."""
    return _fernet().encrypt(text.encode()).decode()


def decrypt(stored: str) -> str:
    """Return a stored secret; one that was stored before secrets were encrypted is returned as it is.

    For one that cannot be decrypted this returns a random secret, for which no code is right.
    """
    if not stored.startswith(_ENCRYPTED):
        return stored
    try:
        return _fernet().decrypt(stored).decode()
    except InvalidToken:
        logger.error("a second factor cannot be decrypted: API_KEY_PEPPER was changed")  # noqa: TRY400
        return base64.b32encode(secrets.token_bytes(20)).decode()


def _fernet() -> Fernet:
    key = bytes.fromhex(keyed_digest("key", purpose="second-factors"))
    return Fernet(base64.urlsafe_b64encode(key))
