"""Verify ID tokens that Google signed, with Google's own library.

google-auth fetches Google's certificates for every verification; as its documentation advises, the
requests go through CacheControl, which keeps them as long as Google's headers allow.
"""

from collections.abc import Container
from functools import cache

import cachecontrol
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

# Clocks of two machines differ; without slack, google-auth refuses a token issued a second ahead.
_SKEW_SECONDS = 10


class TokenRefused(Exception):
    """The token does not open the door; the message says why, for the log."""


@cache
def _transport() -> Request:
    return Request(session=cachecontrol.CacheControl(requests.Session()))


def caller_of(token: str, *, audience: str, allowed: Container[str]) -> str:
    """Return the e-mail address of the account that `token` stands for.

    It must be signed by Google, unexpired, made for `audience`, verified and in `allowed`.
    Raises TokenRefused.
    """
    try:
        claims = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
            token, _transport(), audience=audience, clock_skew_in_seconds=_SKEW_SECONDS
        )
    except (ValueError, GoogleAuthError) as error:
        raise TokenRefused(str(error)) from error
    email = claims.get("email", "")
    if not claims.get("email_verified") or email not in allowed:
        raise TokenRefused(f"The account {email!r} may not call this service.")
    return str(email)
