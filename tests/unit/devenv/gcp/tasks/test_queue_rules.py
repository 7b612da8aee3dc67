"""Rates, pauses and limits, without any delivery."""

import pytest
from google.cloud import tasks_v2
from hypothesis import given, strategies as st

from devenv.gcp.delivery import Backoff
from devenv.gcp.tasks.dispatcher import retry_after
from devenv.gcp.tasks.rules import complete_queue, exhausted
from devenv.gcp.tasks.state import LiveQueue, QueuedEntry, TokenBucket

RetryConfig = tasks_v2.RetryConfig.pb()


def queue(**limits: float) -> LiveQueue:
    state = tasks_v2.Queue.pb()(name="q", rate_limits=limits, state=1)
    complete_queue(state)
    return LiveQueue(state)


def entry(name: str, due: int = 100) -> QueuedEntry:
    return QueuedEntry(tasks_v2.Task.pb()(name=name, schedule_time={"seconds": due}))


def test_backoff_doubles_then_grows_linearly_up_to_cap() -> None:
    backoff = Backoff(least=10, most=300, doublings=3)
    assert [backoff.pause(n) for n in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]


@given(
    least=st.floats(0, 1e6),
    extra=st.floats(0, 1e9),
    doublings=st.integers(0, 2**31 - 1),
    retry=st.integers(1, 2**31 - 1),
)
def test_backoff_never_shrinks_and_stays_in_its_bounds(
    least: float, extra: float, doublings: int, retry: int
) -> None:
    backoff = Backoff(least=least, most=least + extra, doublings=doublings)
    assert least <= backoff.pause(retry) <= backoff.pause(retry + 1) <= least + extra


def test_task_is_exhausted_when_both_limits_are_reached() -> None:
    config = RetryConfig(max_attempts=3, max_retry_duration={"seconds": 60})
    assert not exhausted(config, attempts=3, age=59)
    assert not exhausted(config, attempts=2, age=61)
    assert exhausted(config, attempts=3, age=60)


def test_unlimited_limit_leaves_decision_to_other() -> None:
    assert exhausted(RetryConfig(max_attempts=3), attempts=3, age=0)
    assert exhausted(
        RetryConfig(max_attempts=-1, max_retry_duration={"seconds": 60}), attempts=1, age=60
    )
    assert not exhausted(RetryConfig(max_attempts=-1), attempts=10**6, age=1e9)


@given(rate=st.floats(0.01, 500), burst=st.integers(1, 100), steps=st.lists(st.floats(0, 5)))
def test_token_bucket_is_limited_by_burst_and_rate(
    rate: float, burst: int, steps: list[float]
) -> None:
    start = now = 1_800_000_000.0
    bucket = TokenBucket(rate, burst)
    taken = 0
    for step in steps:
        now += step
        while not bucket.wait(now) and taken < 10_000:
            bucket.take()
            taken += 1
        assert taken <= burst + rate * (now - start) + 0.01


@given(rate=st.floats(0.01, 500), burst=st.integers(1, 100))
def test_token_bucket_wait_is_exact(rate: float, burst: int) -> None:
    now = 1_800_000_000.0
    bucket = TokenBucket(rate, burst)
    for _ in range(burst):
        assert bucket.wait(now) == 0
        bucket.take()
    wait = bucket.wait(now)
    assert abs(wait - 1 / rate) < 1e-5
    assert bucket.wait(now + wait) == 0


def test_clock_set_back_does_not_stop_queue() -> None:
    bucket = TokenBucket(10, 1)
    assert bucket.wait(1_800_000_000.0) == 0
    bucket.take()
    assert bucket.wait(1_700_000_000.0) <= 0.1001


def test_rate_below_one_per_second_sends_single_tasks() -> None:
    slow = queue(max_dispatches_per_second=0.1)
    slow.put(entry("a"))
    slow.put(entry("b"))
    assert slow.next(100.0)
    assert slow.next(100.0) is None
    assert slow.wake_at(100.0) == 110.0


def test_tasks_leave_in_order_of_schedule_time() -> None:
    line = queue()
    for name, due in (("late", 90), ("early", 10), ("middle", 50)):
        line.put(entry(name, due))
    assert [getattr(line.next(100.0), "name", "") for _ in range(3)] == ["early", "middle", "late"]


def test_tasks_in_flight_are_limited() -> None:
    line = queue(max_concurrent_dispatches=2)
    for name in "abc":
        line.put(entry(name))
    first = line.next(100.0)
    assert first
    assert line.next(100.0)
    assert line.next(100.0) is None
    line.land(first)
    assert line.next(100.0)


def test_dropped_task_never_leaves() -> None:
    line = queue()
    line.put(entry("a"))
    line.drop(line.tasks["a"])
    assert line.next(1000.0) is None


def test_task_put_back_leaves_once() -> None:
    line = queue()
    task = entry("a", due=10)
    line.put(task)
    task.task.schedule_time.seconds = 50
    line.put(task)
    assert line.next(20.0) is None
    assert line.next(60.0) is task
    assert line.next(60.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("9" * 50, 3600),
        ("", 0),
        ("-5", 0),
        ("soon", 0),
        ("²", 0),
    ],
)
def test_retry_after_is_parsed_in_both_forms(value: str, seconds: float) -> None:
    assert retry_after(value, 1_800_000_000.0) == seconds


@given(st.text(max_size=50))
def test_retry_after_is_bounded(value: str) -> None:
    assert 0 <= retry_after(value, 1_800_000_000.0) <= 3600
