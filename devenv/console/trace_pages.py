"""Pages of traces: the latest ones, and one as a waterfall over queue, services, jobs and storage.

A trace is everything that has one trace id: calls in the journal, executions whose variables name
it, spans that programs exported to the Telemetry API, and lines of logs that name it. An id may also
be given as a UUID.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from devenv.console.cloud import CloudClient
from devenv.console.gate import HEADERS
from devenv.console.local import StackView
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell, moment_of
from devenv.stack.loglines import plain_lines, time_of

_ID = re.compile(r"[0-9a-f]{32}")
_LOG_TAIL = 4_000_000  # bytes of each log that are looked through
_MOST_LINES = 400
# Spans that others happen inside of: requests to services, executions, and those of programs.
_OUTER = ("deliver", "run.invoke", "execution")
_PROGRAM = "program"
_FINE = ("", "-", "ok", "unset", "succeeded", "pending", "reconciling")
_KINDS = (
    ("deliver", "delivery"),
    ("run.invoke", "request"),
    ("execution", "job"),
    ("run.", "job"),
    ("tasks.", "queue"),
    ("storage.", "storage"),
)


@dataclass(frozen=True, slots=True)
class TraceLine:
    """A line of a log that names the trace; `at` is 0 where the line has no time."""

    service: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """A bar of the waterfall. `start` and `width` are thousandths of the whole.

    `attributes` and `events` are those of a span that a program exported, which has no `link`.
    """

    method: str
    kind: str
    caller: str
    resource: str
    status: str
    at: float
    ended: float
    link: str
    fault: str = ""
    depth: int = 0
    start: float = 0.0
    width: float = 0.0
    lines: list[TraceLine] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def is_outer(self) -> bool:
        return self.method in _OUTER or self.kind == _PROGRAM

    @property
    def is_failed(self) -> bool:
        """Return whether its status is none of success: an HTTP status, or a word."""
        word = self.status.partition(":")[0]
        return word[0] in "45" if word.isdecimal() else word.lower() not in _FINE

    @property
    def seconds(self) -> float:
        return self.ended - self.at


class TracePages:
    """Routes of traces."""

    def __init__(self, shell: Shell, cloud: CloudClient, stack: StackView) -> None:
        self._shell = shell
        self._cloud = cloud
        self._logs = stack.logs

    def routes(self) -> list[Route]:
        return [Route("/traces", self.traces), Route("/traces/{trace}", self.trace)]

    def traces(self, request: Request) -> Response:
        wanted, problem = request.query_params.get("id", "").strip(), ""
        try:
            if wanted:
                return RedirectResponse(f"/traces/{_normal(wanted)}", 303, headers=HEADERS)
        except ConsoleProblem as error:
            problem = error.message
        before = request.query_params.get("before", "")
        exported_before = request.query_params.get("exported_before", "")
        found = self._cloud.control("traces", before=before)["traces"]
        exported = self._cloud.control("spans", before=exported_before)["traces"]
        return self._shell.page(
            request,
            "traces.html",
            place="traces",
            status=404 if problem else 200,
            problem=problem,
            wanted=wanted,
            traces=found,
            before=before,
            older=found[-1]["id"] if len(found) == 100 else 0,
            exported=exported,
            exported_before=exported_before,
            exported_older=exported[-1]["id"] if len(exported) == 100 else 0,
        )

    def trace(self, request: Request) -> Response:
        trace = _normal(request.path_params["trace"])
        calls = self._cloud.control(f"traces/{trace}")["calls"]
        executions = self._cloud.control("executions", trace=trace)["executions"]
        exported = self._cloud.control("spans", trace=trace)["spans"]
        spans = waterfall(
            [
                *map(_of_call, calls),
                *map(_of_execution, executions),
                *map(_of_program, exported),
            ]
        )
        lines = list(self._lines(trace))
        rest = _distribute(lines, spans)
        return self._shell.page(
            request,
            "trace.html",
            place="traces",
            trace=trace,
            spans=spans,
            rest=rest[-_MOST_LINES:],
            began=min((span.at for span in spans), default=0.0),
            ended=max((span.ended for span in spans), default=0.0),
        )

    def _lines(self, trace: str) -> Iterator[TraceLine]:
        """Yield the lines of services' logs that name the trace."""
        names = (trace, _uuid(trace))
        for path in sorted(self._logs.glob("*.log")):
            for line in _tail(path):
                if any(name in line for name in names):
                    yield TraceLine(path.stem, time_of(line), " ".join(plain_lines(line))[:1000])


def _normal(text: str) -> str:
    """Return an id without hyphens. Raises ConsoleProblem."""
    found = text.replace("-", "").lower()
    if not _ID.fullmatch(found):
        raise ConsoleProblem(
            f"{text[:60]!r} is not the id of a trace: 32 hexadecimal digits, or a UUID.", status=404
        )
    return found


def _uuid(trace: str) -> str:
    return "-".join((trace[:8], trace[8:12], trace[12:16], trace[16:20], trace[20:]))


def _kind(method: str) -> str:
    return next((kind for start, kind in _KINDS if method.startswith(start)), "other")


def _of_call(call: dict[str, Any]) -> TraceSpan:
    return TraceSpan(
        method=call["method"],
        kind=_kind(call["method"]),
        caller=call["caller"].partition("@")[0],
        resource=call["resource"],
        status=call["status"],
        at=call["at"],
        ended=call["at"] + call["milliseconds"] / 1000,
        link=f"/journal/{call['id']}",
        fault=call["fault"],
    )


def _of_execution(execution: dict[str, Any]) -> TraceSpan:
    ended = moment_of(execution.get("completionTime", "")) or time.time()
    name = execution["name"].rpartition("/")[2]
    outcome: dict[str, str] = next(
        (c for c in execution["conditions"] if c["type"] == "Completed"), {}
    )
    return TraceSpan(
        method="execution",
        kind="job",
        caller=execution["template"]["serviceAccount"].partition("@")[0],
        resource=name,
        status=outcome.get("state", "").removeprefix("CONDITION_").lower(),
        at=moment_of(execution["createTime"]),
        ended=ended,
        link=f"/jobs/{execution['job']}/executions/{name}",
    )


def _of_program(span: dict[str, Any]) -> TraceSpan:
    """Return the bar of a span that a program exported."""
    return TraceSpan(
        method=span["name"],
        kind=_PROGRAM,
        caller=span["caller"].partition("@")[0],
        resource=span["service"],
        status=": ".join(filter(None, (span["status"], span["message"]))),
        at=span["at"],
        ended=span["ended"],
        link="",
        attributes=span["attributes"],
        events=span["events"],
    )


def waterfall(spans: list[TraceSpan]) -> list[TraceSpan]:
    """Return spans in the order of their start, each with its depth and its place in the whole."""
    ordered = sorted(spans, key=lambda span: (span.at, -span.ended))
    if not ordered:
        return []
    began = ordered[0].at
    whole = max(max(span.ended for span in ordered) - began, 0.001)
    outer = [span for span in ordered if span.is_outer]
    return [
        replace(
            span,
            depth=sum(_contains(one, span) for one in outer),
            start=(span.at - began) / whole * 1000,
            width=max(span.seconds / whole * 1000, 3),
        )
        for span in ordered
    ]


def _contains(outer: TraceSpan, span: TraceSpan) -> bool:
    return outer is not span and outer.at <= span.at and span.ended <= outer.ended


def _distribute(lines: list[TraceLine], spans: list[TraceSpan]) -> list[TraceLine]:
    """Give each line to the shortest request that it was written in; return the rest by time."""
    rest = []
    outer = sorted((s for s in spans if s.is_outer), key=lambda span: span.seconds)
    for line in sorted(lines, key=lambda line: line.at):
        span = next((one for one in outer if one.at <= line.at <= one.ended), None)
        if span and len(span.lines) < _MOST_LINES:
            span.lines.append(line)
        else:
            rest.append(line)
    return rest


def _tail(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LOG_TAIL, 0))
        for line in file:
            yield line.decode("utf-8", "replace").rstrip("\n")
