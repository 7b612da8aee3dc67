"""Endpoints of the private worker: for the queue, for validators, for the scheduler.

Each is a `door`: it takes POST with a bounded body from a known caller, and answers JSON.
`settings.WORKER_AUTH` chooses the authenticator. It returns the caller's email address, or an empty
string for "nobody known". Doors that act on the caller's word (tasks, schedules) then stay shut; the
callback door opens for whoever knows the attempt's nonce.

ID tokens are verified by Google's own library. It fetches the certificates for every token; the
session obeys their Cache-Control, as
https://googleapis.dev/python/google-auth/latest/reference/google.oauth2.id_token.html recommends.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import cache, wraps
from typing import Any

import requests
from cachecontrol import CacheControl
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from validibot.core import problems
from validibot.core.problems import ApiError
from validibot.core.scheduled_work import recorded
from validibot.core.trace import HEADER, continue_trace
from validibot.dashboards.counting import count_days
from validibot.dispatch.delivery import TaskDelivery, deliver, queue_account
from validibot.notifications.sending import enqueue_digests
from validibot.runs import callback
from validibot.runs.purge import DataRootShared, purge as run_purge
from validibot.runs.sweep import run_sweep

CLOCK_SKEW_SECONDS = 10


class TokenRefused(Exception):
    """The token does not open this door; the message says why, to be logged and answered."""


class CertificatesUnavailable(Exception):
    """Google's certificates cannot be fetched now, so no caller can be verified."""


def verify_id_token(token: str, *, audience: str, allowed: Collection[str]) -> str:
    """Return the verified email address of the caller.

    Raises TokenRefused for what is no token of Google's, expired, made for another audience or of
    an account that is not `allowed`; CertificatesUnavailable.
    """
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
        raise TokenRefused("The ID token names no verified email address.")
    if email not in allowed:
        raise TokenRefused(f"{email} is not among the ALLOWED_CALLERS.")
    return email


@cache
def _transport() -> Request:
    return Request(session=CacheControl(requests.Session()))


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
            with continue_trace(request.headers.get(HEADER, "")):
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
    except TokenRefused as error:
        raise ApiError(401, "NOT_AUTHENTICATED", str(error)) from error
    except CertificatesUnavailable as error:
        raise ApiError(503, "UNAVAILABLE", f"Callers cannot be verified now: {error}") from error


def authenticate(request: HttpRequest) -> str:
    """Return who calls. Raises TokenRefused, CertificatesUnavailable, ApiError."""
    authenticator: Authenticator = import_string(settings.WORKER_AUTH)
    return authenticator(request)


def google_id_token(request: HttpRequest) -> str:
    """On Google Cloud: a service account of ALLOWED_CALLERS, proved by an ID token made for us."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("An ID token is needed: Authorization: Bearer <token>.")
    return verify_id_token(
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


@door
def tasks(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Take a delivery, only from the account of the queue: a validator's account may not."""
    if not caller or caller != queue_account():
        raise ApiError(403, "PERMISSION_DENIED", "Only the queue delivers tasks.")
    number = request.headers.get("X-CloudTasks-TaskRetryCount", "")
    delivery = TaskDelivery(
        body=body,
        task_id=request.headers.get("X-CloudTasks-TaskName", "")[:500],
        number=int(number) if number.isdecimal() and len(number) < 7 else 0,
    )
    result = deliver(delivery)
    return result.status, {"message": result.message}


@door
def callbacks(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Take a validator's callback; the nonce in it tells which attempt speaks."""
    reply = callback.handle(body)
    return reply.status, reply.body


@door
def capabilities(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Renew a validator's right to its attempt's folder; the nonce tells which one that is."""
    return callback.renew_capability(body)


@door
def reconcile(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Sweep, as the scheduler asks every minute; nobody else may."""
    return _scheduled("reconcile", run_sweep, caller)


@door
def purge(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Remove what is older than its retention, as the scheduler asks once a day."""
    try:
        return _scheduled("purge", run_purge, caller)
    except DataRootShared as error:
        raise ApiError(409, "DATA_ROOT_SHARED", str(error)) from error


@door
def digests(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Enqueue the digests that are due, as the scheduler asks every quarter of an hour."""
    return _scheduled("digests", enqueue_digests, caller)


@door
def figures(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Count the runs of the days that are open, as the scheduler asks every hour."""
    return _scheduled("figures", count_days, caller)


def _scheduled(
    name: str, work: Callable[[], Mapping[str, int]], caller: str
) -> tuple[int, dict[str, Any]]:
    """Do a pass of periodic work for the scheduler. Raises ApiError for anybody else."""
    if not caller or caller != settings.SCHEDULER_ACCOUNT:
        raise ApiError(403, "PERMISSION_DENIED", f"Only the scheduler may start {name}.")
    return 200, recorded(name, work)
