"""Pages of the stack: its services, their logs, and the graph of what needs what."""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from devenv.console.gate import HEADERS
from devenv.console.local import NODE_HEIGHT, NODE_WIDTH, StackView, graph_of
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell
from devenv.stack.logfile import Follower, LogLevel, read, size
from devenv.stack.loglines import LogFilter, plain_lines, time_of

OWN_NAME = "console"
_LINES = 300
_MOST_SENT = 3000  # lines of one event: as many as a page keeps
_PAUSE = 0.5
_DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line of a log as the page has it."""

    level: str
    text: str


class LogView:
    """The choice of lines that a reader makes; keeps state over the lines of one log."""

    def __init__(self, level: LogLevel, pattern: re.Pattern[str] | None) -> None:
        self._filter = LogFilter(level=level, pattern=pattern)

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Return the view that a query describes. Raises ConsoleProblem."""
        text = query.get("grep", "")
        try:
            level = LogLevel(query.get("level") or "debug")
            pattern = re.compile(text, re.IGNORECASE) if text else None
        except ValueError as error:
            known = ", ".join(LogLevel)
            raise ConsoleProblem(f"level is not one of {known}.") from error
        except re.error as error:
            raise ConsoleProblem(
                f"{text[:60]!r} is no regular expression: {error}. Put a backslash before ( [ *."
            ) from error
        return cls(level, pattern)

    def lines(self, raw: Iterable[str]) -> Iterator[ShownLine]:
        for line in raw:
            if self._filter.passes(line):
                level, at = self._filter.level.value, time_of(line)
                clock = time.strftime("%H:%M:%S  ", time.localtime(at)) if at else ""
                yield from (ShownLine(level, clock + text) for text in plain_lines(line))


class StackPages:
    """Routes of the stack."""

    def __init__(self, shell: Shell, stack: StackView) -> None:
        self._shell = shell
        self._stack = stack

    def routes(self) -> list[Route]:
        act = self._shell.action
        return [
            Route("/", self.overview),
            Route("/services/{name}", self.service),
            Route("/services/{name}/state", self.service),
            Route("/services/{name}/stream", self.stream),
            Route("/services/{name}/{command}", act(self.command), methods=["POST"]),
        ]

    def overview(self, request: Request) -> Response:
        state = self._stack.state()
        return self._shell.page(
            request,
            "stack.html",
            place="stack",
            services=self._stack.services(),
            phase=state.phase,
            mode=state.mode,
            own=OWN_NAME,
            graph=graph_of(state.services),
            node=(NODE_WIDTH, NODE_HEIGHT),
        )

    def service(self, request: Request) -> Response:
        row = self._stack.service(request.path_params["name"])
        query, problem = request.query_params, ""
        written = size(self._log(row.name))
        try:
            view = LogView.of(query)
        except ConsoleProblem as error:
            view, problem = LogView(LogLevel.DEBUG, None), error.message
        shown = request.url.remove_query_params(["grep", "level"]) if problem else request.url
        is_state = request.url.path.endswith("/state")  # asked for often: without the log
        written_lines = () if is_state else read(self._log(row.name))
        lines = deque(view.lines(written_lines), maxlen=_LINES)
        return self._shell.page(
            request,
            "service.html",
            place="stack",
            status=400 if problem else 200,
            problem=problem,
            service=row,
            own=OWN_NAME,
            lines=lines,
            levels=list(LogLevel),
            level=request.query_params.get("level", ""),
            grep=request.query_params.get("grep", ""),
            stream=str(shown.include_query_params(at=written).query),
        )

    def command(self, request: Request, form: FormData) -> str:
        name, command = request.path_params["name"], request.path_params["command"]
        if command not in _DONE:
            raise ConsoleProblem(f"{command[:20]!r} is not one of {', '.join(_DONE)}.", status=404)
        if name == OWN_NAME:
            raise ConsoleProblem(f"The console cannot {command} itself: devenv {command} {name}")
        self._stack.command(command, name)
        return f"{name} {_DONE[command]}."

    async def stream(self, request: Request) -> Response:
        """Send the lines that are written from the offset `at` on, as server-sent events."""
        row = self._stack.service(request.path_params["name"])
        view = LogView.of(request.query_params)
        at = request.query_params.get("at", "")
        follower = Follower(self._log(row.name), at=int(at) if at.isdecimal() else None)
        return StreamingResponse(
            events(request, lambda: view.lines(follower.new_lines())),
            media_type="text/event-stream",
            headers=HEADERS,
        )

    def _log(self, name: str) -> Path:
        return self._stack.logs / f"{name}.log"


async def events(request: Request, more: Callable[[], Iterator[ShownLine]]) -> AsyncIterator[str]:
    """Yield new lines as events, until the browser goes away."""
    yield "retry: 1000\n\n"
    while not await request.is_disconnected():
        if lines := deque(more(), maxlen=_MOST_SENT):
            yield f"data: {json.dumps([[line.level, line.text] for line in lines])}\n\n"
        await asyncio.sleep(_PAUSE)
