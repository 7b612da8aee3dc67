"""Faults: matching, counts, ends, effects, and what is refused."""

import asyncio
from math import nan
from typing import Any

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.errors import CloudError, InvalidArgument, ResourceExhausted, Unavailable
from devenv.gcp.fault_matchers import ANY, ATTEMPT, DELIVER, HTTP_FORMS, OWN_FORMS, may_match
from devenv.gcp.faults import AnswerLost, Fault, Faults
from devenv.gcp.journal import JournalEntry
from devenv.gcp.stack_clock import StackClock
from tests.unit.devenv.gcp.fakes import MemoryStore, settle

pytestmark = pytest.mark.anyio

INSERT, RUN = "storage.objects.insert", "run.Jobs.RunJob"
WEB = "web@p.iam.gserviceaccount.com"
WORKER = "worker@p.iam.gserviceaccount.com"
OBJECT = "storage.googleapis.com/b/o"


class FaultBench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.restart()

    def restart(self) -> None:
        self.faults = Faults(self.store, self.clock)
        self.faults.know({INSERT: HTTP_FORMS, RUN: ANY} | OWN_FORMS, lambda: [WEB, WORKER])

    def add(self, method: str = INSERT, **fields: Any) -> Fault:
        return self.faults.add(Fault(method=method, **fields))

    async def call(self, method: str = INSERT, resource: str = OBJECT, caller: str = WEB) -> str:
        """Return how a call ends: ok, or the name of its error."""
        self.entry = JournalEntry(0.0, method, resource, caller)
        self.handled = False
        try:
            async with self.faults.strike(self.entry):
                self.handled = True
        except CloudError as error:
            return type(error).__name__
        return "ok"


@pytest.fixture
def bench() -> FaultBench:
    return FaultBench()


async def test_fault_strikes_as_often_as_it_says(bench: FaultBench) -> None:
    fault = bench.add(status=503, times=2)

    ends = [await bench.call() for _ in range(3)]

    assert ends == [Unavailable.__name__, Unavailable.__name__, "ok"]
    assert bench.entry.fault == ""
    assert [(each.id, each.times, each.struck) for each in bench.faults.all()] == [(fault.id, 0, 2)]


async def test_struck_call_is_not_handled_and_is_marked(bench: FaultBench) -> None:
    fault = bench.add(status=429)

    assert await bench.call() == ResourceExhausted.__name__
    assert not bench.handled
    assert bench.entry.fault == str(fault.id)


@pytest.mark.parametrize(
    ("fields", "call", "struck"),
    [
        ({"method": "storage.*"}, {}, True),
        ({"method": "Storage.Objects.Insert"}, {}, True),
        ({"method": RUN}, {}, False),
        ({"resource": "*/b/*"}, {}, True),
        ({"resource": "*/b/*"}, {"resource": "localhost/c/o"}, False),
        ({"caller": "web"}, {}, True),
        ({"caller": "web@*"}, {}, True),
        ({"caller": "worker"}, {}, False),
    ],
)
async def test_fault_strikes_only_what_it_matches(
    bench: FaultBench, fields: dict[str, Any], call: dict[str, str], struck: bool
) -> None:
    bench.add(**{"method": INSERT, "status": 500, **fields})

    assert (await bench.call(**call) != "ok") is struck


async def test_fault_ends_at_its_moment(bench: FaultBench) -> None:
    bench.add(status=500, times=100, until=bench.clock.now() + 60)
    assert await bench.call() != "ok"

    await bench.clock.turn(60)
    assert await bench.call() == "ok"


async def test_delay_is_not_shortened_by_a_turn(bench: FaultBench) -> None:
    clock = StackClock(bench.store, lambda: 1_800_000_000.0)
    bench.faults = Faults(bench.store, clock)
    bench.faults.know({INSERT: ANY})
    bench.add(delay=500.0)
    call = asyncio.create_task(bench.call())
    await settle()

    await clock.advance(86_400)
    await settle()

    assert not call.done()
    call.cancel()


async def test_delayed_call_waits_on_the_clock(bench: FaultBench) -> None:
    bench.add(delay=5.0)
    call = asyncio.create_task(bench.call())
    await settle()
    assert not call.done()

    await bench.clock.turn(5)
    assert await call == "ok"


@pytest.mark.parametrize(("effect", "handled"), [("reset", False), ("lose_answer", True)])
async def test_connection_breaks_before_or_after_the_call(
    bench: FaultBench, effect: str, handled: bool
) -> None:
    fields: dict[str, Any] = {effect: True}
    bench.add(**fields)

    assert await bench.call() == AnswerLost.__name__
    assert bench.handled is handled


async def test_fault_survives_a_restart_with_its_count(bench: FaultBench) -> None:
    bench.add(status=503, times=2)
    await bench.call()

    bench.restart()

    assert [await bench.call() for _ in range(2)] == [Unavailable.__name__, "ok"]


async def test_removed_fault_strikes_no_more(bench: FaultBench) -> None:
    first = bench.add(status=503)
    bench.add(status=500)

    assert bench.faults.remove(first.id) == 1
    assert await bench.call() == "Internal"
    assert bench.faults.remove() == 1
    assert bench.faults.remove(first.id) == 0


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"method": "storage.object.insert", "status": 503}, "Similar: storage.objects.insert"),
        ({"resource": "bucket/*", "status": 503}, "'bucket/\\*' matches no call of storage.*HOST/"),
        ({"resource": "gs://bucket/o", "status": 503}, "matches no call of storage.objects.insert"),
        (
            {"resource": "x" * 9000, "status": 503},
            "resource has 9000 characters; send at most 8192",
        ),
        ({"method": DELIVER, "resource": "projects/p/queues/q", "status": 503}, "form http://"),
        ({"method": ATTEMPT, "resource": "*/jobs/j*", "outcome": "hang"}, "have the form NAME"),
        ({"caller": "nobody", "status": 503}, "'nobody' matches no account.*Known: web, worker"),
        ({"caller": "console", "status": 503}, "'console' matches no account"),
        ({"caller": "w?b@q.*", "status": 503}, "matches no account"),
        ({"status": 418}, "status 418 is not one of 400"),
        ({"delay": -1.0}, "delay -1.0 is not between 0 and 600"),
        ({"status": 503, "times": 0}, "times 0 is not between 1"),
        ({"status": 503, "until": 1.0}, "until 1.0 is not within the next 10 years"),
        ({"status": 503, "until": nan}, "until nan is not within the next 10 years"),
        ({"status": 503, "delay": nan}, "delay nan is not between 0 and 600"),
        ({}, "needs a delay, or one of status"),
        ({"status": 503, "reset": True}, "one of status, reset, lose_answer"),
    ],
)
def test_impossible_fault_is_refused(bench: FaultBench, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        bench.add(**{"method": INSERT, **fields})
    assert not bench.faults.all()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"method": ATTEMPT, "outcome": "explode"}, "'explode' is not one of crash"),
        ({"method": INSERT, "outcome": "crash"}, "outcome is for the method run.attempt"),
        ({"method": ATTEMPT, "reset": True}, "run.attempt has no connection"),
        ({"method": INSERT, "duplicate": True}, "duplicate is for the method deliver"),
        ({"method": INSERT, "reorder": True}, "reorder is for the method deliver"),
        ({"method": ATTEMPT, "outcome": "hang", "status": 503}, "one of status, reset"),
    ],
)
def test_effect_of_another_method_is_refused(
    bench: FaultBench, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text):
        bench.add(**fields)


async def test_broken_connections_do_not_strike_attempts(bench: FaultBench) -> None:
    bench.add("*", lose_answer=True)

    assert await bench.call(ATTEMPT) == "ok"
    assert await bench.call(INSERT) == "AnswerLost"


@pytest.mark.parametrize(
    "fields",
    [
        {"resource": "*/b/*"},
        {"resource": "storage.googleapis.com/*"},
        {"resource": "localhost/upload/*"},
        {"method": "*", "resource": "projects/p/*"},
        {"method": DELIVER, "resource": "https://w*"},
        {"method": ATTEMPT, "resource": "job-*"},
        {"caller": "we[b]@*"},
        {"caller": "principal://*/subject/s"},
        {"caller": ""},
    ],
)
def test_matcher_that_may_strike_is_taken(bench: FaultBench, fields: dict[str, Any]) -> None:
    assert bench.add(**{"delay": 1.0, **fields}).id


def test_long_glob_is_compared_in_bounded_time() -> None:
    assert not may_match("*a" * 4096, f"{'*b' * 10}/")
    assert may_match("*a" * 4096, "*")
