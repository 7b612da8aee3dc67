"""One line per event, with the request and the run that it belongs to."""

import contextvars
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponseBase

from validibot.core.asgi import DeferredResponse
from validibot.core.origin import bound_request

_run_id: contextvars.ContextVar[str] = contextvars.ContextVar("run_id", default="")
_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

logger = logging.getLogger("validibot.request")

# Attributes that every LogRecord has; what else is there came by `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# https://devcenter.heroku.com/articles/http-request-id: what a router may call a request.
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{20,200}")
_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
_NO_KEY = re.compile(r"[\s\"=]")


@contextmanager
def bound_run(run_id: object) -> Iterator[None]:
    """Name `run_id` in every line that is logged inside."""
    token = _run_id.set(str(run_id))
    try:
        yield
    finally:
        _run_id.reset(token)


@contextmanager
def _bound_request(name: str) -> Iterator[None]:
    token = _request_id.set(name)
    try:
        yield
    finally:
        _request_id.reset(token)


class LineFormatter(logging.Formatter):
    """Collects what a line says: `severity`, `message`, `time` and our own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "logger": record.name,
        }
        if request_id := _request_id.get():
            line["request_id"] = request_id
        if run_id := _run_id.get():
            line["run_id"] = run_id
        line |= {k: str(v) for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self.write(line)

    def write(self, line: dict[str, str]) -> str:
        raise NotImplementedError


class JsonFormatter(LineFormatter):
    """Lines as Cloud Logging reads them."""

    def write(self, line: dict[str, str]) -> str:
        return json.dumps(line, ensure_ascii=False)


class LogfmtFormatter(LineFormatter):
    """Lines as people and drains of platforms read them: `severity=INFO message="GET / 200" …`."""

    def write(self, line: dict[str, str]) -> str:
        return " ".join(f"{_NO_KEY.sub('_', key)}={_value(text)}" for key, text in line.items())


class RequestLogMiddleware:
    """Log each request with its status and duration; files of the pages are left out.

    A request keeps the name that a router gave it, and its answer bears it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        name = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        started = time.perf_counter()
        with _bound_request(name), bound_request(request, name):
            response = self.get_response(request)

        def log(final: HttpResponseBase) -> None:
            if not request.path.startswith("/static/"):
                elapsed = (time.perf_counter() - started) * 1000
                with _bound_request(name):
                    logger.info("%s %s %s", request.method, _shown(request), final.status_code,
                                extra={"duration_ms": round(elapsed, 1)})  # fmt: skip

        response.headers["X-Request-ID"] = name
        if isinstance(response, DeferredResponse):
            response.on_complete.append(log)
        else:
            log(response)
        return response


def _shown(request: HttpRequest) -> str:
    """Return the path, or its pattern where the path is a secret, as in links of mails."""
    match = request.resolver_match
    if match and (request.path.startswith("/accounts/") or "token" in match.kwargs):
        return f"/{match.route}"
    return request.path


def _value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
