"""Authentication of the worker's callers, chosen by settings.WORKER_AUTH.

An authenticator returns the caller's e-mail address, or an empty string for "nobody known". Doors
that act on the caller's word (tasks, schedules) then stay shut; the callback door opens for
whoever knows the attempt's nonce.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string

from validibot.core import oidc
from validibot.core.problems import ApiError

type Authenticator = Callable[[HttpRequest], str]


def authenticate(request: HttpRequest) -> str:
    """Return who calls. Raises oidc.TokenRefused, oidc.CertificatesUnavailable, ApiError."""
    authenticator: Authenticator = import_string(settings.WORKER_AUTH)
    return authenticator(request)


def google_id_token(request: HttpRequest) -> str:
    """On Google Cloud: a service account of ALLOWED_CALLERS, proved by an ID token made for us."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise oidc.TokenRefused("An ID token is needed: Authorization: Bearer <token>.")
    return oidc.verify(
        token.strip(), audience=settings.WORKER_URL, allowed=settings.ALLOWED_CALLERS
    )


def worker_key(request: HttpRequest) -> str:
    """On a host of one's own: whoever knows WORKER_API_KEY; nobody, where there is none.

    All validators share the key: it proves that the caller is a validator, not which one.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    expected = settings.WORKER_API_KEY
    is_right = constant_time_compare(key.strip(), expected)
    if not expected or scheme.lower() != "worker-key" or not is_right:
        raise ApiError(
            403,
            "PERMISSION_DENIED",
            "The worker's key is missing or wrong: Authorization: Worker-Key <WORKER_API_KEY>.",
        )
    return ""


def nonce_only(request: HttpRequest) -> str:
    """Without a cloud: tasks run where they are enqueued, so only validators may call."""
    return ""
