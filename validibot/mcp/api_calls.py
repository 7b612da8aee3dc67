"""Calls of the public API inside the process, with the key of the request that is being served.

A tool calls the API's own views, so permissions, scopes of keys, limits of content and texts of problems
are those of the API, and are written once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from mcp.server.mcpserver.exceptions import ToolError

API = "/api/v1/"
# Variables of the request that brought the call, which the views read: caller, address and host.
_KEPT = (
    *("HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_USER_AGENT", "HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"),
    *("HTTP_X_FORWARDED_PROTO", "SERVER_NAME", "SERVER_PORT"),
)


@dataclass(frozen=True, slots=True)
class ToolCaller:
    """The key and address of a request, as they are needed to call the API for it."""

    user_id: int
    meta: Mapping[str, Any]

    @classmethod
    def of(cls, request: HttpRequest, user_id: int) -> "ToolCaller":
        kept = {name: request.META[name] for name in _KEPT if name in request.META}
        return cls(user_id, kept)

    def get(self, path: str, **query: Any) -> Any:
        """Return the document at `path` below the API. Raises ToolError with the problem's text."""
        return self._call("GET", path, {k: v for k, v in query.items() if v not in (None, "")})

    def post(self, path: str, body: Mapping[str, Any], *, idempotency_key: str = "") -> Any:
        """Send `body` as JSON to `path` and return the answer. Raises ToolError, as `get`."""
        headers = {"HTTP_IDEMPOTENCY_KEY": idempotency_key} if idempotency_key else {}
        content = json.dumps({k: v for k, v in body.items() if v not in (None, "")}).encode()
        return self._call("POST", path, {}, content, headers)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            match = resolve(API + path)
        except Resolver404 as error:
            raise ToolError(f"There is nothing at {path[:200]}. Check the names.") from error
        request = WSGIRequest(
            {
                **self.meta,
                **(headers or {}),
                "REQUEST_METHOD": method,
                "PATH_INFO": API + path,
                "QUERY_STRING": urlencode(query),
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(content)),
                "HTTP_ACCEPT": "application/json",
                "wsgi.input": BytesIO(content),
                "wsgi.url_scheme": "https",
            }
        )
        # The message was counted when it came.
        view = match.func.cls.as_view(counts_requests=False)  # type: ignore[attr-defined]
        response = view(request, *match.args, **match.kwargs)
        if hasattr(response, "render"):
            response = response.render()
        document = json.loads(response.content)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise ToolError(_text(document))
        return document


def _text(problem: Mapping[str, Any]) -> str:
    """Return the text of a problem document, with its code and the fields at fault."""
    detail, code = problem["detail"], problem.get("code", "")
    fields = [
        f"{error['field']}: {error['message']}"
        for error in problem.get("errors", ())
        if error["message"] not in detail
    ]
    return "\n".join([f"{detail} ({code})" if code else detail, *fields])
