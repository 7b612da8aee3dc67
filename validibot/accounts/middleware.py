"""Middleware for people who are signed in: their language and time zone, the use of their session."""

import datetime as dt
import logging
from collections.abc import Callable

import requests
from allauth.usersessions.models import UserSession
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone, translation

from validibot.accounts.models import User
from validibot.accounts.profile import known_language, zone_of

# The list of sessions is this exact; each page would cost several statements otherwise.
ACTIVITY_INTERVAL = dt.timedelta(minutes=10)
_SEEN = "seen_at"

logger = logging.getLogger(__name__)


class SignedInMiddleware:
    """Shows pages in the language and time zone of the user, and notes when a session was last used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            user = _active_user(request) if request.session.session_key else None
        except (InterfaceError, OperationalError) as error:
            # The view meets the same and answers 503.
            logger.warning("%s: the session cannot be read: %s", request.path, error)
            user = None
        zone = zone_of(user.time_zone) if user else None
        language = user.language if user else ""
        with (
            timezone.override(zone or timezone.get_default_timezone()),
            translation.override(known_language(language) or translation.get_language()),
        ):
            return self.get_response(request)


class ProviderUnavailableMiddleware:
    """Answers with a page when a provider of sign-in cannot be reached."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the page for a failed request to a provider; None for errors of another kind."""
        if not isinstance(error, requests.RequestException):
            return None
        logger.warning("%s: the provider cannot be reached: %s", request.path, error)
        return render(request, "socialaccount/authentication_error.html", status=503)


def _active_user(request: HttpRequest) -> User | None:
    """Return the user who is signed in, and note that the session is used."""
    if not isinstance(request.user, User):
        return None
    now = timezone.now()
    seen = request.session.get(_SEEN, 0.0)
    if now.timestamp() - seen >= ACTIVITY_INTERVAL.total_seconds():
        request.session[_SEEN] = now.timestamp()
        UserSession.objects.create_from_request(request)
    return request.user
