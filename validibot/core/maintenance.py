"""Maintenance: pages are closed, the API is read-only, workers take no tasks.

Validators may still call back. The switch is a row, so that all processes follow within a second and
none has to be restarted; the setting MAINTENANCE closes as well, for work on the database itself.
Workers of the database queue read the row, too; those of Cloud Tasks refuse deliveries, which the
queue repeats.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from validibot.core import problems
from validibot.core.models import Maintenance

# How long a process relies on what it has read.
REMEMBERED_SECONDS = 1.0
# When browsers and programs should try again.
RETRY_SECONDS = 60
# Operators may have to sign in.
_OPEN = (
    "/health/",
    "/internal/access/",
    "/internal/callbacks/",
    "/internal/capabilities/",
    "/static/",
    "/admin/",
    "/accounts/login/",
)
_READING = ("GET", "HEAD", "OPTIONS")
DETAIL = "This deployment is under maintenance. Nothing is lost; try again in a minute."

logger = logging.getLogger(__name__)


def is_on() -> bool:
    """Return whether this deployment is closed. Raises DatabaseError."""
    return settings.MAINTENANCE or Maintenance.objects.exists()


class Switch:
    """The state of the switch, read once a second; while it cannot be read, the last state."""

    def __init__(self, ask: Callable[[], bool], *, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._asked_at: float | None = None
        self._was_on = False

    def is_on(self) -> bool:
        now = self._clock()
        if self._asked_at is None or now - self._asked_at >= REMEMBERED_SECONDS:
            # Before the query: other threads need not read it meanwhile.
            self._asked_at = now
            try:
                self._was_on = self._ask()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("cannot read the maintenance flag: %s", error)
        return self._was_on


class MaintenanceMiddleware:
    """Closes pages and refuses to write; health, callbacks and the admin site stay open."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._switch = Switch(is_on, clock=time.monotonic)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(_OPEN) or not self._switch.is_on():
            return self.get_response(request)
        if request.path.startswith("/api/") and request.method in _READING:
            return self.get_response(request)
        return _closed(request)


def _closed(request: HttpRequest) -> HttpResponse:
    answer: HttpResponse
    if problems.wants_page(request):
        answer = render(request, "web/maintenance.html", {"navigation": None}, status=503)
    else:
        answer = problems.response(503, DETAIL, "MAINTENANCE")
    answer.headers["Retry-After"] = str(RETRY_SECONDS)
    answer.headers["Cache-Control"] = "no-store"
    return answer
