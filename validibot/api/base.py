"""The base of every view of the public API: rules of each request, whatever it is about.

- A query parameter that the operation does not declare is refused, so that a misspelt filter never
  answers with everything.
- A user may make `API_REQUESTS_PER_MINUTE` requests in a minute, on all instances together. Answers
  have the headers `RateLimit-Policy` and `RateLimit`
  (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/).
- A document has an `ETag`. A read with the right `If-None-Match` is answered 304, and a change with a
  wrong `If-Match` 412 (RFC 9110, section 13).
"""

from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.views import APIView

from validibot.accounts.models import User
from validibot.api import schema
from validibot.api.documents import etag_of
from validibot.core.echo import echo
from validibot.core.problems import ApiError
from validibot.core.throttle import RequestLimit, RequestUsage

_QUERY_PARAMETERS = "query_parameters"
_COUNTED = "validibot.request_usage"
DECLARATION = "declaration"
"""The attribute of a view's method with what it declares: arguments of drf-spectacular's extend_schema."""


def operation[F: Callable[..., Any]](
    *, parameters: Sequence[OpenApiParameter] = (), **more: Any
) -> Callable[[F], F]:
    """Make a decorator that declares an operation for the OpenAPI document (see extend_schema).

    The query parameters that it declares are those that the operation takes. The declaration is only
    noted: `api.openapi` hands it to drf-spectacular.
    """
    if HTTPStatus.NOT_MODIFIED in more["responses"]:
        parameters = [*parameters, schema.IF_NONE_MATCH]
    names = {each.name for each in parameters if each.location == OpenApiParameter.QUERY}

    def decorate(method: F) -> F:
        setattr(method, DECLARATION, {"parameters": list(parameters), **more})
        setattr(method, _QUERY_PARAMETERS, frozenset(names))
        return method

    return decorate


class ApiView(APIView):
    """A view of the public API; `counts_requests` is False where clients poll."""

    counts_requests: ClassVar[bool] = True
    _usage: RequestUsage | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate the request, count it and check its query. Raises ApiError."""
        super().initial(request, *args, **kwargs)
        if settings.API_REQUESTS_PER_MINUTE and self.counts_requests:
            self._count(request)
        self._check_query(request)

    def finalize_response(  # type: ignore[override]  # views answer with Django's own responses
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Add the headers of limits, and leave out a document that the client has already."""
        final: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        if request.method in ("GET", "HEAD") and _is_known(request, final):
            final = HttpResponseNotModified(headers={"ETag": final.headers["ETag"]})
        if self._usage is not None:
            usage, policy = self._usage, f'"requests";q={self._usage.limit};w=60'
            final.headers["RateLimit-Policy"] = policy
            final.headers["RateLimit"] = f'"requests";r={usage.remaining};t={usage.reset_seconds}'
        return final

    def _count(self, request: Request) -> None:
        assert isinstance(request.user, User)
        limit = _limit(settings.API_REQUESTS_PER_MINUTE)
        # With a large body a view may run twice for one request (`core.asgi`), with the same scope.
        scope = getattr(request._request, "scope", {})  # noqa: SLF001 - not REST framework's own
        counted = scope.get(_COUNTED)
        self._usage = scope[_COUNTED] = usage = counted or limit.use(str(request.user.pk))
        if usage.is_exceeded:
            raise ApiError(
                429,
                "TOO_MANY_REQUESTS",
                f"You made more than {usage.limit:,} requests in a minute. Ask again in"
                f" {usage.reset_seconds} s.",
                headers={"Retry-After": str(usage.reset_seconds)},
            )

    def _check_query(self, request: Request) -> None:
        handler = getattr(self, (request.method or "").lower(), None)
        taken: frozenset[str] = getattr(handler, _QUERY_PARAMETERS, frozenset())
        unknown = [name for name in request.query_params if name not in taken]
        if not unknown:
            return
        known = ", ".join(sorted(taken)) or "none"
        errors = [
            {"field": name[:80], "message": f"{echo(name)} is not a parameter of this request."}
            for name in unknown[:10]
        ]
        detail = f"{errors[0]['message']} It takes: {known}."
        raise ApiError(400, "UNKNOWN_PARAMETER", detail, errors=errors)


@cache
def _limit(count: int) -> RequestLimit:
    return RequestLimit("api", count=count, seconds=60)


def check_unchanged(request: Request, document: BaseModel) -> None:
    """Raise ApiError (412) unless the request's `If-Match` names the document as it is now.

    Call this while the rows of the document are locked. A request without `If-Match` passes.
    """
    wanted = request.headers.get("If-Match", "")
    if not wanted:
        return
    known, current = parse_etags(wanted), etag_of(document.model_dump_json().encode())
    if known != ["*"] and current not in known:
        raise ApiError(
            412,
            "PRECONDITION_FAILED",
            f"This changed since you read it: its ETag is {current}. Read it again, then send your"
            " change with the new ETag.",
        )


def _is_known(request: Request, response: HttpResponseBase) -> bool:
    """Return whether `If-None-Match` names the document of the answer."""
    if response.status_code != 200 or not isinstance(response, HttpResponse):
        return False
    etag = response.headers.get("ETag")
    known = parse_etags(request.headers.get("If-None-Match", ""))
    # Weak comparison (RFC 9110, section 13.1.2).
    return bool(etag) and (known == ["*"] or etag in [each.removeprefix("W/") for each in known])
