"""Errors as problem details (RFC 9457), everywhere that no page is asked for.

Body: `type`, `title`, `status`, `detail`, and `code`, `errors` [{field, message, line?}] where they
help.
`detail` is never empty: the published client prints it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from validibot.core.storage import StorageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ApiError(exceptions.APIException):
    """An anticipated error of the API: what happened, the field at fault, what to do next."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.problem_code = code
        self.errors = list(errors)
        self.headers = headers or {}
        self.extra = extra


def body(status: int, detail: str, code: str = "", **extra: Any) -> dict[str, Any]:
    """Return the members of a problem document."""
    phrase = HTTPStatus(status).phrase
    members = {"type": "about:blank", "title": phrase, "status": status, "detail": detail or phrase}
    if code:
        members["code"] = code
    return members | {key: value for key, value in extra.items() if value or value == 0}


def response(status: int, detail: str, code: str = "", **extra: Any) -> JsonResponse:
    """Return a problem document as a plain Django response."""
    return JsonResponse(body(status, detail, code, **extra), status=status, content_type=MEDIA_TYPE)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a REST view raised into a problem document; unanticipated errors pass (500)."""
    if isinstance(error, ApiError):
        document = body(
            error.status_code,
            str(error.detail),
            error.problem_code,
            errors=error.errors,
            **error.extra,
        )
        return _respond(document, error.headers)
    if isinstance(error, (InterfaceError, OperationalError)):
        logger.warning("%s: the database cannot be reached: %s", context["request"].path, error)
        document = body(503, "The database cannot be reached. Try again.", "UNAVAILABLE")
        return _respond(document, {"Retry-After": "5"})
    if isinstance(error, StorageError):
        logger.warning("%s: the storage cannot be reached: %s", context["request"].path, error)
        document = body(503, "The file storage cannot be reached. Try again.", "UNAVAILABLE")
        return _respond(document, {"Retry-After": "5"})
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    drf = drf_exception_handler(error, context)
    if drf is None or not isinstance(error, exceptions.APIException):
        return drf
    document = body(drf.status_code, _sentence(error), _code(error), errors=_fields(error))
    kept = {k: v for k, v in drf.headers.items() if k in ("WWW-Authenticate", "Retry-After")}
    return _respond(document, kept)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown path: JSON for programs, a page for people."""
    return _answer(request, 404, f"There is nothing at {request.path[:200]}.", "NOT_FOUND")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer what cannot be read, such as the name of a host that is not ours."""
    return _answer(request, 400, "The request cannot be understood.", "BAD_REQUEST")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer what a view refused."""
    return _answer(request, 403, "Your role does not allow this.", "PERMISSION_DENIED")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without the token of its page."""
    detail = "This form is too old, or your browser keeps no cookies. Load its page again."
    return _answer(request, 403, detail, "CSRF_FAILED")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer when we failed: JSON for programs, a page for people."""
    detail = "Something failed on our side. Try again."
    return _answer(request, 500, detail, "INTERNAL_SERVER_ERROR")


class UnavailableMiddleware:
    """Answers 503 when a page cannot reach the database or the file storage."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the answer to an error of a view; None for errors of another kind."""
        if not isinstance(error, (InterfaceError, OperationalError, StorageError)):
            return None
        logger.warning("%s: unavailable: %s", request.path, error)
        storage = isinstance(error, StorageError)
        missing = "file storage" if storage else "database"
        answer = _answer(
            request, 503, f"The {missing} cannot be reached. Try again in a moment.", "UNAVAILABLE"
        )
        answer["Retry-After"] = "5"
        return answer


def _answer(request: HttpRequest, status: int, detail: str, code: str) -> HttpResponse:
    if wants_page(request):
        context: dict[str, Any] = {"status": status, "detail": detail}
        if code == "UNAVAILABLE":  # who is signed in stands in the database
            context |= {"user": None, "messages": (), "navigation": None}
        return render(request, "web/error.html", context, status=status)
    return response(status, detail, code)


def wants_page(request: HttpRequest) -> bool:
    """Say whether an answer should be for people, not for a program."""
    if settings.APP_ROLE != "web" or request.path.startswith(("/api/", "/health/")):
        return False
    return request.accepts("text/html") and "text/html" in request.headers.get("Accept", "")


def _respond(document: dict[str, Any], headers: dict[str, str]) -> Response:
    answer = Response(document, status=document["status"], headers=headers)
    answer.content_type = MEDIA_TYPE
    return answer


def _sentence(error: exceptions.APIException) -> str:
    if isinstance(error.detail, str):
        return str(error.detail)
    fields = _fields(error)
    return f"{fields[0]['field']}: {fields[0]['message']}" if fields else "The request is invalid."


def _code(error: exceptions.APIException) -> str:
    codes = error.get_codes()
    return codes.upper() if isinstance(codes, str) else "INVALID"


def _fields(error: exceptions.APIException) -> list[dict[str, str]]:
    if not isinstance(error.detail, dict):
        return []
    return [
        {
            "field": str(field),
            "message": str(messages[0] if isinstance(messages, list) else messages),
        }
        for field, messages in error.detail.items()
    ]
