"""Common rules of the worker's endpoints: POST, bounded bodies, known callers, JSON.

`settings.WORKER_AUTH` chooses the authenticator. It returns the caller's e-mail address, or an empty
string for "nobody known". Doors that act on the caller's word (tasks, schedules) then stay shut; the
callback door opens for whoever knows the attempt's nonce.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from validibot.core import oidc, problems
from validibot.core.problems import ApiError

MAX_BYTES = 64 * 1024
# How much of a refused body is read, so that its sender receives the answer: HTTP/2 has no limit.
MAX_REQUEST_BYTES = 1024 * 1024 * 1024

logger = logging.getLogger(__name__)

type Authenticator = Callable[[HttpRequest], str]
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
