"""The request that is being handled: who makes it, from where, by which door.

`RequestLogMiddleware` binds it; outside of a request (commands, tasks) there is none.
"""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.http import HttpRequest

from validibot.core.throttle import client_address

_request: contextvars.ContextVar[tuple[HttpRequest, str] | None] = contextvars.ContextVar(
    "request", default=None
)


@dataclass(frozen=True, slots=True)
class RequestOrigin:
    """Where a change comes from; `actor` is an email address, empty for nobody who is signed in."""

    actor: str = ""
    address: str = ""
    request_id: str = ""
    via: str = "command"


@contextmanager
def bound_request(request: HttpRequest, request_id: str) -> Iterator[None]:
    """Make `request` the one that `current_origin` describes."""
    token = _request.set((request, request_id))
    try:
        yield
    finally:
        _request.reset(token)


def current_origin() -> RequestOrigin:
    """Return the origin of the request that is being handled."""
    bound = _request.get()
    if bound is None:
        return RequestOrigin()
    request, request_id = bound
    # Authentication by API key sets the user of Django's request, too.
    actor = getattr(getattr(request, "user", None), "email", "")
    via = "api" if request.path.startswith("/api/") else "page"
    return RequestOrigin(actor, client_address(request), request_id, via)
