"""The control API of the emulated cloud on the plain port, below `/_devenv/`: journal, faults, clock.

It is for the command line, the console and tests on this machine. Except for `health`, a request
needs the token of the file `control-token` in the data folder, a Host that is this machine, and no
Origin of another page.

| request | answer |
|---|---|
| GET /_devenv/health | whether the cloud answers |
| GET /_devenv/journal?method=&resource=&caller=&status=&limit=&before= | calls, the newest first |
| GET /_devenv/missing | methods that were asked for and are not emulated |
| GET, POST, DELETE /_devenv/faults | all faults; a new one; none any more |
| DELETE /_devenv/faults/ID | one fault less |
| GET, POST, DELETE /_devenv/clock | the clock; turn it: `{"advance": "2h"}`, `{"set": "2027-01-31"}`; reset it |
| GET /_devenv/traces?before= | the latest traces |
| GET /_devenv/traces/ID | the calls of a trace, in the order of their start |
| GET /_devenv/executions?trace= | executions of Cloud Run jobs that name a trace |
| GET /_devenv/instances | instances of Cloud Run services, and how the latest ended |
| DELETE /_devenv/instances/NAME | stop an instance; the next request starts one |
| GET /_devenv/permissions | what accounts used and may, and what was refused |
| GET /_devenv/project | the project: its id, number, region and accounts |
| GET /_devenv/budgets | budgets of all billing accounts |
| GET /_devenv/queues | queues of Cloud Tasks with depth and deliveries |
| GET /_devenv/subscriptions | topics of Pub/Sub, and subscriptions with depth |
| GET /_devenv/messages?subscription=&after= | messages of a subscription, without leases |
| GET /_devenv/log?filter=&also=&token= | log entries, the newest first, and the position of the last one |
| GET /_devenv/log?filter=&also=&after= | the entries that were written after a position |

The token is also an access token of the operator, for whom Google's APIs have no limits.
"""

import hmac
import os
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from devenv.gcp.clock import rfc3339
from devenv.gcp.errors import (
    CloudError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    refuse_on_full_disk,
)
from devenv.gcp.faults import Fault, Faults
from devenv.gcp.journal import FILTERS, MOST, OPERATOR, Journal, is_trace
from devenv.gcp.rpc.rest import failure, read_body
from devenv.gcp.stack_clock import StackClock, duration, moment
from devenv.local_only import refusal

TOKEN_FILE = "control-token"  # noqa: S105 - a file's name
_LARGEST = 64 * 1024
_PREFIX = "/_devenv/"
_OPEN = f"{_PREFIX}health"
_LONGEST_NAME = 100
_VERBS = {"GET": "get", "POST": "insert", "DELETE": "delete"}  # of methods in the journal
_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)
_CLOCK_TURN = TypeAdapter(dict[str, str])
_SETTABLE = {field.name for field in fields(Fault)} - {"id", "struck"}

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
View: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ControlAccess:
    """Access to the control API: the token, and further names of this machine as `hosts`."""

    token: str
    hosts: set[str]


class ControlApi:
    """The ASGI application.

    `views` are what services tell of themselves, by name: each takes the query of a GET.
    `stop_instance` stops an instance of a Cloud Run service by its name.
    """

    def __init__(
        self,
        journal: Journal,
        faults: Faults,
        clock: StackClock,
        *,
        access: ControlAccess,
        views: Mapping[str, View],
        stop_instance: Callable[[str], object],
    ) -> None:
        self._journal = journal
        self._faults = faults
        self._clock = clock
        self._access = access
        self._views = views
        self._stop = stop_instance
        routes = (
            (_OPEN, self._health, "GET"),
            ("/_devenv/journal", self._rows, "GET"),
            ("/_devenv/missing", self._missing, "GET"),
            ("/_devenv/traces", self._traces, "GET"),
            ("/_devenv/traces/{trace}", self._trace, "GET"),
            ("/_devenv/faults", self._list_faults, "GET"),
            ("/_devenv/faults", self._add_fault, "POST"),
            ("/_devenv/faults", self._remove_faults, "DELETE"),
            ("/_devenv/faults/{number:int}", self._remove_fault, "DELETE"),
            ("/_devenv/clock", self._show_clock, "GET"),
            ("/_devenv/clock", self._turn_clock, "POST"),
            ("/_devenv/clock", self._reset_clock, "DELETE"),
            ("/_devenv/instances/{name}", self._stop_instance, "DELETE"),
            ("/_devenv/{view}", self._view, "GET"),
        )
        self._app = Starlette(
            routes=[Route(path, handle, methods=[verb]) for path, handle, verb in routes],
            exception_handlers=dict.fromkeys((CloudError, OSError, sqlite3.Error), _refused),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path == _OPEN:
            await self._app(scope, receive, send)
            return
        name = request.url.path.removeprefix(_PREFIX).partition("/")[0][:_LONGEST_NAME]
        method = f"devenv.{name}.{_VERBS.get(request.method, request.method)}"
        with self._journal.entry(method, request.url.path[:500]) as entry:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    entry.status = str(message["status"])
                await send(message)

            try:
                self._admit(request)
                entry.caller = OPERATOR
                await self._app(scope, receive, answer)
            except CloudError as error:
                await failure(error)(scope, receive, answer)

    def _admit(self, request: Request) -> None:
        if reason := refusal(request.headers, self._access.hosts):
            raise PermissionDenied(f"The control API is for this machine. {reason}")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._access.token.encode()):
            raise PermissionDenied(f"The token is not that of the file {TOKEN_FILE}.")

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _rows(self, request: Request) -> Response:
        query = dict(request.query_params)
        before, limit = (_number(query.pop(name, ""), name) for name in ("before", "limit"))
        if unknown := sorted(set(query) - set(FILTERS)):
            raise InvalidArgument(f"{unknown[0][:100]!r} is not one of {', '.join(FILTERS)}.")
        rows = self._journal.rows(query, before=before, limit=limit or 100)
        return JSONResponse({"calls": rows, "most": MOST})

    async def _missing(self, _request: Request) -> Response:
        return JSONResponse({"missing": self._journal.missing()})

    async def _traces(self, request: Request) -> Response:
        before = _number(request.query_params.get("before", ""), "before")
        return JSONResponse({"traces": self._journal.traces(before=before)})

    async def _trace(self, request: Request) -> Response:
        trace = request.path_params["trace"]
        if not is_trace(trace):
            raise InvalidArgument(f"{trace[:100]!r} is not an id of 32 hexadecimal digits.")
        return JSONResponse({"calls": self._journal.calls_of(trace)})

    async def _show_clock(self, _request: Request) -> Response:
        now = self._clock.now()
        return JSONResponse({"now": now, "time": rfc3339(now), "ahead": self._clock.ahead})

    async def _turn_clock(self, request: Request) -> Response:
        sent = await read_body(request, limit=_LARGEST)
        try:
            turn = _CLOCK_TURN.validate_json(sent, strict=True)
        except ValidationError:
            turn = {}
        if turn.keys() == {"advance"}:
            await self._clock.advance(duration(turn["advance"]))
        elif turn.keys() == {"set"}:
            await self._clock.set(moment(turn["set"]))
        else:
            raise InvalidArgument(
                'The body must be {"advance": "2h"} or {"set": "2027-01-31T12:00Z"}.'
            )
        return await self._show_clock(request)

    async def _reset_clock(self, request: Request) -> Response:
        self._clock.reset()
        return await self._show_clock(request)

    async def _view(self, request: Request) -> Response:
        view = self._views.get(name := request.path_params["view"])
        if view is None:
            raise NotFound(f"{name[:100]!r} is not one of {', '.join(self._views)}.")
        shown = view(request.query_params)
        return JSONResponse(shown if isinstance(shown, Mapping) else await shown)

    async def _stop_instance(self, request: Request) -> Response:
        self._stop(name := request.path_params["name"])
        return JSONResponse({"stopped": name})

    async def _list_faults(self, _request: Request) -> Response:
        return JSONResponse({"faults": [asdict(fault) for fault in self._faults.all()]})

    async def _add_fault(self, request: Request) -> Response:
        sent = await read_body(request, limit=_LARGEST)
        try:
            fault = _FAULT.validate_json(sent, strict=True, extra="forbid")
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or "The body"
            raise InvalidArgument(f"{name}: {first['msg']}. Known: {_names()}.") from error
        return JSONResponse(asdict(self._faults.add(fault)), 201)

    async def _remove_faults(self, _request: Request) -> Response:
        return JSONResponse({"removed": self._faults.remove()})

    async def _remove_fault(self, request: Request) -> Response:
        number = request.path_params["number"]
        if not self._faults.remove(number):
            raise NotFound(f"There is no fault {number}.")
        return JSONResponse({"removed": 1})


async def _refused(request: Request, error: Exception) -> Response:
    """Answer a refusal, and a change for which the disk has no room."""
    if isinstance(error, CloudError):
        return failure(error)
    try:
        with refuse_on_full_disk(request.url.path):
            raise error
    except CloudError as full:
        return failure(full)


def _names() -> str:
    return ", ".join(sorted(_SETTABLE))


def _number(text: str, name: str) -> int:
    if text and not (text.isdecimal() and len(text) < 16):
        raise InvalidArgument(f"{name} is {text[:100]!r}; it must be a number.")
    return int(text or 0)


def control_token(data: Path) -> str:
    """Return the token of a cloud's data folder, in a file that only its owner can read."""
    file = data / TOKEN_FILE
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    return file.read_text()
