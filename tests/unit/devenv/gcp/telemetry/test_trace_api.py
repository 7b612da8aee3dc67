"""The Cloud Trace API by REST: traces that are read, and spans that are written by v1 and v2."""

import asyncio
from typing import Any

import pytest

from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.stack_clock import StackClock
from devenv.gcp.telemetry import trace_api
from devenv.gcp.telemetry.span_store import RETENTION, SpanStore
from devenv.gcp.telemetry.spans import SpanRecord
from devenv.gcp.telemetry.trace_api import CloudTraceApi
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, MemoryJournal, MemoryStore, no_faults
from tests.unit.devenv.gcp.web import Web

NOW = 1_800_000_000.0
TRACES = "/v1/projects/p/traces"
CREATE = f"/v2/projects/p/traces/{'a' * 32}/spans/{7:016x}"
WRITE = "/v2/projects/p/traces:batchWrite"
FIRST, SECOND = "a" * 32, "b" * 32
TIMES = {"startTime": "2027-01-15T08:00:00Z", "endTime": "2027-01-15T08:00:01Z"}
SPAN_V1 = {"spanId": "7", "name": "batch", "kind": "RPC_CLIENT", "labels": {"zone": "x"}} | TIMES
SPAN_V2 = {
    "name": f"projects/p/traces/{FIRST}/spans/{7:016x}",
    "spanId": f"{7:016x}",
    "displayName": {"value": "batch"},
    "spanKind": "CLIENT",
    "attributes": {"attributeMap": {"zone": {"stringValue": {"value": "x"}}}},
} | TIMES


def span(trace: str, number: int, name: str, **fields: Any) -> SpanRecord:
    parent = f"{number - 1:016x}" if number > 1 else ""
    times = {"at": NOW, "ended": NOW + 0.2} | fields
    return SpanRecord(trace, f"{number:016x}", parent, name, "shop", kind="server", **times)


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock(store: MemoryStore) -> StackClock:
    return StackClock(store, lambda: NOW + 10)


@pytest.fixture
def spans(store: MemoryStore, clock: StackClock) -> SpanStore:
    return SpanStore(store, clock)


@pytest.fixture
def web(spans: SpanStore, guard: FakeGuard) -> Web:
    api = CloudTraceApi(CloudConfig(project="p", number="123"), spans, guard)
    return Web(RestApp(api.rpcs(), Calls(Everybody(), MemoryJournal(), no_faults())))


@pytest.fixture
def two(spans: SpanStore) -> None:
    """Keep two traces, the second one slow and with two spans."""
    spans.add([span(FIRST, 1, "home")])
    slow = {"ended": NOW + 3, "attributes": {"/http/status_code": "500"}}
    spans.add([span(SECOND, 1, "checkout", **slow), span(SECOND, 2, "charge")])


def listed(web: Web, query: str) -> list[str]:
    answer = web.get(f"{TRACES}?{query}")
    assert answer.status_code == 200, answer.text
    return [each["traceId"] for each in answer.json().get("traces", [])]


@pytest.mark.usefixtures("two")
def test_trace_has_its_spans_with_decimal_ids(web: Web) -> None:
    trace = web.get(f"{TRACES}/{SECOND}").json()

    assert [each["name"] for each in trace["spans"]] == ["checkout", "charge"]
    assert trace["spans"][1] == {
        "spanId": "2",
        "parentSpanId": "1",
        "name": "charge",
        "kind": "RPC_SERVER",
        "startTime": "2027-01-15T08:00:00Z",
        "endTime": "2027-01-15T08:00:00.200Z",
        "labels": {"service.name": "shop"},
    }


@pytest.mark.usefixtures("two")
def test_turned_clock_makes_old_traces_vanish(
    web: Web, spans: SpanStore, clock: StackClock
) -> None:
    asyncio.run(clock.advance(RETENTION - 9))
    assert listed(web, "") == [SECOND]  # it ended two seconds later

    # A program that writes after the turn has the machine's time still.
    spans.add([span(FIRST, 2, "late", at=NOW + 10, ended=NOW + 10)])
    asyncio.run(clock.advance(5))

    assert web.get(f"{TRACES}/{SECOND}").status_code == 404
    assert listed(web, "") == [FIRST]
    clock.reset()
    assert listed(web, "") == [FIRST]


@pytest.mark.usefixtures("two")
def test_list_has_the_latest_traces_first_by_pages(web: Web) -> None:
    first = web.get(f"{TRACES}?pageSize=1").json()

    assert first["traces"] == [{"projectId": "p", "traceId": SECOND}]
    assert listed(web, f"pageSize=1&pageToken={first['nextPageToken']}") == [FIRST]
    root = web.get(f"{TRACES}?view=ROOTSPAN&pageSize=1").json()["traces"][0]
    assert [each["name"] for each in root["spans"]] == ["checkout"]


@pytest.mark.usefixtures("two")
def test_list_call_looks_at_bounded_number_of_traces(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_api, "_MOST_EXAMINED", 1)
    first = web.get(f"{TRACES}?filter=root:none").json()

    assert first.keys() == {"nextPageToken"}
    token = first["nextPageToken"]
    assert web.get(f"{TRACES}?filter=root:none&pageToken={token}").json() == {}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("filter=root:check", [SECOND]),
        ("filter=%2Broot:check", []),
        ("filter=span:charge latency:2s", [SECOND]),
        ("filter=latency:100ms", [SECOND, FIRST]),
        ('filter=/http/status_code:"500"', [SECOND]),
        ("startTime=2027-01-15T08:00:02Z", [SECOND]),
        ("endTime=2027-01-15T07:00:00Z", []),
    ],
)
def test_list_is_limited_by_filter_and_interval(web: Web, query: str, found: list[str]) -> None:
    assert listed(web, query) == found


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("PATCH", TRACES, {"traces": [{"traceId": FIRST, "spans": [SPAN_V1]}]}),
        ("POST", WRITE, {"spans": [SPAN_V2]}),
        ("POST", CREATE, SPAN_V2),
    ],
    ids=["v1", "v2", "one"],
)
def test_written_spans_can_be_read(web: Web, verb: str, path: str, body: Any) -> None:
    assert web.request(verb, path, json=body).json() == (SPAN_V2 if path == CREATE else {})
    assert web.get(f"{TRACES}/{FIRST}").json()["spans"] == [SPAN_V1]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "text"),
    [
        ("GET", f"{TRACES}/{FIRST}", None, 404, "does not exist"),
        ("GET", "/v1/projects/other/traces", None, 403, "other"),
        ("GET", f"{TRACES}?filter=a", None, 400, "filter 'a' is not valid"),
        ("GET", f"{TRACES}?filter=latency:x", None, 400, "latency is 'x'"),
        ("GET", f"{TRACES}?pageToken=x", None, 400, "page_token"),
        ("GET", f"{TRACES}?orderBy=name", None, 501, "order_by 'name'"),
        ("PATCH", TRACES, {"traces": [{"traceId": "x", "spans": [SPAN_V1]}]}, 400, "'x'"),
        ("POST", WRITE, {"spans": [SPAN_V2 | {"name": "x"}]}, 400, "span.name is 'x'"),
        ("POST", WRITE, {"spans": [SPAN_V2 | {"displayName": {}}]}, 400, "must have a name"),
    ],
)
def test_invalid_call_is_refused_by_name(
    web: Web, verb: str, path: str, body: Any, status: int, text: str
) -> None:
    answer = web.request(verb, path, json=body)

    assert (answer.status_code, text in answer.json()["error"]["message"]) == (status, True)


def test_caller_needs_the_permission(web: Web, guard: FakeGuard) -> None:
    guard.denied = {"cloudtrace.traces.list"}

    assert web.get(TRACES).status_code == 403
