"""Health of this process and of its database: the probes, and the check of pooled connections."""

import select
from collections.abc import Callable
from typing import Any

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


def check_connection(one: psycopg.Connection[Any]) -> None:
    """Refuse a broken connection, and check all others if it is one. Raises psycopg.Error.

    A server that ends or is ended closes its connections, so that their sockets can be read; only
    then is the connection tried. Trying each one that is taken would cost a round trip per request.

    The pool by itself tries one dead connection after the other, waits twice as long each time and
    gives up before it finds a living one; so all are checked at once.
    """
    socket = select.poll()
    socket.register(one.fileno(), select.POLLIN | select.POLLHUP)
    if not socket.poll(0):
        return
    try:
        one.execute("")  # Django's pooled connections are in autocommit mode
    except psycopg.Error:
        connection.pool.check()  # type: ignore[attr-defined]  # the stubs lack it
        raise


_PROBES = {"health/": live, "health/ready/": ready}
urlpatterns = [path(route, view) for route, view in _PROBES.items()]


class HealthMiddleware:
    """Answers probes before the host is checked: they come to an address, not to a name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return _PROBES.get(request.path_info.removeprefix("/"), self.get_response)(request)
