"""Trace context: the current trace, that of a run, and what is ignored."""

import re
from uuid import UUID

import pytest

from validibot.core.trace import continue_trace, trace_of_run, traceparent

RUN = UUID("0af76519-16cd-43dd-8448-eb211c80319c")
HEADER = f"00-{RUN.hex}-b7ad6b7169203331-01"


def test_run_id_is_the_trace_id() -> None:
    assert re.fullmatch(rf"00-{RUN.hex}-[0-9a-f]{{16}}-01", traceparent(RUN))
    with trace_of_run(RUN):
        assert RUN.hex in traceparent()


def test_request_continues_its_trace_until_it_ends() -> None:
    with continue_trace(HEADER):
        assert traceparent().split("-")[1] == RUN.hex
        assert traceparent() != HEADER

    assert not traceparent()


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{RUN}-1-01", HEADER.upper()])
def test_invalid_header_begins_no_trace(header: str) -> None:
    with continue_trace(header):
        assert not traceparent()
