"""Health probes: whether this process is alive, and whether it can serve."""

from collections.abc import Callable

import psycopg
from django.db import connection
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path

# Probes give up after a few seconds; so does the question to the database (2 is libpq's minimum).
CONNECT_SECONDS = 2


def live(request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process can answer at all."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database answers, else 503, within a few seconds.

    Asked on a connection of its own: the pool waits longer, and may be used up by requests.
    """
    parameters = connection.get_connection_params() | {"connect_timeout": CONNECT_SECONDS}
    try:
        with psycopg.connect(**parameters) as own:
            own.execute("SELECT 1")
    except psycopg.Error:
        return JsonResponse({"status": "database unreachable"}, status=503)
    return JsonResponse({"status": "ok"})


_PROBES = {"health/": live, "health/ready/": ready}
urlpatterns = [path(route, view) for route, view in _PROBES.items()]


class HealthMiddleware:
    """Answers probes before the host is checked: they come to an address, not to a name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return _PROBES.get(request.path_info.removeprefix("/"), self.get_response)(request)
