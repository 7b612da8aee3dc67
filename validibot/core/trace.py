"""Trace context: the id by which the requests, tasks and jobs of one run are seen together.

It travels in the header `traceparent` (https://www.w3.org/TR/trace-context/), which Cloud Run and
Cloud Tasks hand on, and for a job in the variable TRACEPARENT. The id of a run's trace is that of
the run. Nothing depends on it but logs and what shows traces.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

HEADER = "traceparent"
VARIABLE = "TRACEPARENT"
_VALID = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_trace: ContextVar[str] = ContextVar("trace", default="")


def traceparent(run_id: UUID | None = None) -> str:
    """Return the header's value for the next request of a run, or of the current trace.

    It is empty outside of a trace.
    """
    trace = run_id.hex if run_id else _trace.get()
    return f"00-{trace}-{secrets.token_hex(8)}-01" if trace else ""


@contextmanager
def continue_trace(header: str) -> Iterator[None]:
    """Make what happens inside part of the trace that a request names; ignore an invalid one."""
    found = _VALID.fullmatch(header)
    token = _trace.set(found[1] if found else "")
    try:
        yield
    finally:
        _trace.reset(token)


@contextmanager
def trace_of_run(run_id: UUID) -> Iterator[None]:
    """Make what happens inside part of the trace of a run."""
    token = _trace.set(run_id.hex)
    try:
        yield
    finally:
        _trace.reset(token)
