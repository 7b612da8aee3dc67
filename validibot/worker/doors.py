"""Common rules of the worker's endpoints: POST, bounded bodies, known callers, JSON."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from validibot.core import oidc, problems
from validibot.core.problems import ApiError
from validibot.worker.auth import authenticate

MAX_BYTES = 64 * 1024
# How much of a refused body is read, so that its sender receives the answer: HTTP/2 has no limit.
MAX_REQUEST_BYTES = 1024 * 1024 * 1024

logger = logging.getLogger(__name__)

type Inside = Callable[[HttpRequest, bytes, str], tuple[int, dict[str, Any]]]


def door(inside: Inside) -> Callable[[HttpRequest], HttpResponse]:
    """Make a view of `inside(request, body, caller) -> (status, JSON object)`."""

    @csrf_exempt
    @wraps(inside)
    def view(request: HttpRequest) -> HttpResponse:
        try:
            status, answer = inside(request, _body(request), _caller(request))
        except ApiError as problem:
            status, detail = problem.status_code, str(problem.detail)
            logger.warning("%s: %s", request.path, detail)
            return problems.response(status, detail, problem.problem_code)
        except (InterfaceError, OperationalError) as error:
            logger.warning("%s: the database cannot be reached: %s", request.path, error)
            return problems.response(503, "The database cannot be reached.", "UNAVAILABLE")
        return JsonResponse(answer, status=status, headers={"Cache-Control": "no-store"})

    return view


def _body(request: HttpRequest) -> bytes:
    if request.method != "POST":
        raise ApiError(405, "METHOD_NOT_ALLOWED", "This door takes POST.")
    body = request.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        _discard(request)
        raise ApiError(413, "TOO_LARGE", f"At most {MAX_BYTES} bytes are read.")
    return body


def _discard(request: HttpRequest) -> None:
    """Take in the rest: whoever still sends when the connection is closed may not see our answer."""
    for _ in range(MAX_REQUEST_BYTES // MAX_BYTES):
        if not request.read(MAX_BYTES):
            return


def _caller(request: HttpRequest) -> str:
    try:
        return authenticate(request)
    except oidc.TokenRefused as error:
        raise ApiError(401, "NOT_AUTHENTICATED", str(error)) from error
    except oidc.CertificatesUnavailable as error:
        raise ApiError(503, "UNAVAILABLE", f"Callers cannot be verified now: {error}") from error
