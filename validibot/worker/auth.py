"""Who may pass the worker's doors; `WORKER_AUTH` names one of these."""

from django.conf import settings
from django.http import HttpRequest

from validibot.core.oidc import TokenRefused, caller_of


def google_id_token(request: HttpRequest, *, proves_itself: bool) -> str:
    """Let the accounts of ALLOWED_CALLERS in, each by an ID token made for WORKER_URL.

    Returns the caller's e-mail address. Raises TokenRefused.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("There is no bearer token.")
    return caller_of(token, audience=settings.WORKER_URL, allowed=settings.ALLOWED_CALLERS)


def nonce_only(request: HttpRequest, *, proves_itself: bool) -> str:
    """For one machine without Google: only what carries a proof of its own may enter.

    That is the callback with its nonce. Queue and schedules have no door here; where they run in
    the same process they need none.
    """
    if not proves_itself:
        raise TokenRefused("Without Google's tokens this door stays shut.")
    return "validator"
