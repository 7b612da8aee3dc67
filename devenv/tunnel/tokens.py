"""Google's ID tokens, verified by Google's own library and certificates."""

import re
from collections.abc import Callable
from functools import cache, partial

import requests
from cachecontrol import CacheControl
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

# The same as the worker's own: what passes here shall pass there.
CLOCK_SKEW_SECONDS = 10
_PATIENCE = 10.0
_LONGEST = 4096
_FORM = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}")

type Verify = Callable[[str, str], str]
"""Takes a token and its audience, returns who it is of. Raises the two below."""


class TokenRefused(Exception):
    """This is no token of Google's for us; the message is a sentence."""


class CertificatesUnavailable(Exception):
    """Google's certificates cannot be fetched now, so nobody can be told from anybody."""


def verify(token: str, audience: str) -> str:
    """Return the verified e-mail address. Raises TokenRefused, CertificatesUnavailable."""
    if len(token) > _LONGEST or not _FORM.fullmatch(token):
        raise TokenRefused("This is no ID token.")
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
    return email


@cache
def _transport() -> Callable[..., object]:
    # The library asks for the certificates at each token; the session obeys their Cache-Control.
    return partial(Request(session=CacheControl(requests.Session())), timeout=_PATIENCE)
