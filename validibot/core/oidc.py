"""Verification of callers by Google's ID tokens, with Google's own library.

The library fetches the certificates for every token; the session obeys their Cache-Control, as
https://googleapis.dev/python/google-auth/latest/reference/google.oauth2.id_token.html recommends.
"""

from collections.abc import Collection
from functools import cache

import requests
from cachecontrol import CacheControl
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

CLOCK_SKEW_SECONDS = 10


class TokenRefused(Exception):
    """The token does not open this door; the message says why, to be logged and answered."""


class CertificatesUnavailable(Exception):
    """Google's certificates cannot be fetched now, so no caller can be verified."""


def verify(token: str, *, audience: str, allowed: Collection[str]) -> str:
    """Return the verified e-mail address of the caller.

    Raises TokenRefused for what is no token of Google's, expired, made for another audience or of
    an account that is not `allowed`; CertificatesUnavailable.
    """
    try:
        claims = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
            token, _transport(), audience=audience, clock_skew_in_seconds=CLOCK_SKEW_SECONDS
        )
    except TransportError as error:
        raise CertificatesUnavailable(str(error)) from error
    except (GoogleAuthError, ValueError) as error:
        raise TokenRefused(f"The ID token is not valid: {error}") from error
    email = str(claims.get("email", ""))
    if claims.get("email_verified") is not True or not email:
        raise TokenRefused("The ID token names no verified e-mail address.")
    if email not in allowed:
        raise TokenRefused(f"{email} is not among the ALLOWED_CALLERS.")
    return email


@cache
def _transport() -> Request:
    return Request(session=CacheControl(requests.Session()))
