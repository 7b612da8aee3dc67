"""One JSON line per event, with the run that it belongs to."""

import contextvars
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponseBase

_run_id: contextvars.ContextVar[str] = contextvars.ContextVar("run_id", default="")

logger = logging.getLogger("validibot.request")

# Attributes that every LogRecord has; what else is there came by `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def bound_run(run_id: object) -> Iterator[None]:
    """Name `run_id` in every line that is logged inside."""
    token = _run_id.set(str(run_id))
    try:
        yield
    finally:
        _run_id.reset(token)


class JsonFormatter(logging.Formatter):
    """Lines as Cloud Logging reads them: `severity`, `message`, `time` and our own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "logger": record.name,
        }
        if run_id := _run_id.get():
            line["run_id"] = run_id
        line |= {k: str(v) for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class RequestLogMiddleware:
    """Log each request with its status and duration; files of the pages are left out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        if not request.path.startswith("/static/"):
            elapsed = (time.perf_counter() - started) * 1000
            logger.info("%s %s %s", request.method, _shown(request), response.status_code,
                        extra={"duration_ms": round(elapsed, 1)})  # fmt: skip
        return response


def _shown(request: HttpRequest) -> str:
    """Return the path, or its pattern where the path itself is a secret: links that mails carry."""
    if request.path.startswith("/accounts/") and request.resolver_match:
        return f"/{request.resolver_match.route}"
    return request.path
