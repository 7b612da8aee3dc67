"""The clock that can be turned: its moments, its sleepers, its bad input, and a restart."""

import asyncio

import pytest

from devenv.gcp import stack_clock
from devenv.gcp.clock import Alarm, rfc3339
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.stack_clock import StackClock, duration, moment
from devenv.gcp.store import Store
from tests.unit.devenv.gcp.fakes import MemoryStore

pytestmark = pytest.mark.anyio
START = 1_800_000_000.0
HOUR = 3600


class Machine:
    """The machine's clock, which a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def store() -> Store:
    return MemoryStore()


@pytest.fixture
def clock(store: Store, machine: Machine) -> StackClock:
    return StackClock(store, machine)


async def test_turned_clock_is_ahead_and_runs_on(clock: StackClock, machine: Machine) -> None:
    await clock.advance(2 * HOUR)
    machine.now += 10

    assert clock.now() == START + 2 * HOUR + 10
    assert clock.ahead == 2 * HOUR


async def test_turns_survive_a_restart(clock: StackClock, store: Store, machine: Machine) -> None:
    await clock.advance(HOUR)
    await clock.set(START + 5 * HOUR)

    assert StackClock(store, machine).now() == START + 5 * HOUR


async def test_moments_are_translated_by_the_turns_before_them(
    clock: StackClock, machine: Machine
) -> None:
    await clock.advance(HOUR)
    machine.now += 100
    await clock.advance(HOUR)

    moments = [START - 1, START, START + 99, START + 100]
    assert [clock.at(each) - each for each in moments] == [0, HOUR, HOUR, 2 * HOUR]
    assert [clock.machine_at(clock.at(each)) for each in moments] == moments
    skipped = [START + 1, START + HOUR - 1, START + HOUR + 101, START + 2 * HOUR]
    assert [clock.machine_at(each) - START for each in skipped] == [0, 0, 100, 100]


async def test_sleeper_wakes_by_the_turn_that_reaches_it(clock: StackClock) -> None:
    sleeper = asyncio.create_task(clock.sleep(2 * HOUR))
    await asyncio.sleep(0)

    await clock.advance(HOUR)
    await asyncio.sleep(0)
    assert not sleeper.done()

    await clock.advance(HOUR)
    await asyncio.wait_for(sleeper, 60)


async def test_reset_shows_machine_time_and_tells_listeners(clock: StackClock) -> None:
    lost: list[float] = []
    clock.on_reset(lost.append)
    await clock.advance(HOUR)

    clock.reset()

    assert (clock.now(), clock.at(START), lost) == (START, START, [HOUR])


async def test_sleeper_keeps_its_rest_after_reset(clock: StackClock) -> None:
    await clock.advance(HOUR)
    sleeper = asyncio.create_task(clock.sleep(HOUR))
    await asyncio.sleep(0)

    clock.reset()
    await clock.advance(HOUR)

    await asyncio.wait_for(sleeper, 60)


async def test_sleeper_wakes_when_the_machine_was_asleep(
    clock: StackClock, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_clock, "_LOOK_AGAIN", 0.001)
    sleeper = asyncio.create_task(clock.sleep(HOUR))
    await asyncio.sleep(0)

    machine.now += HOUR

    await asyncio.wait_for(sleeper, 60)


async def test_alarm_rings_though_machine_was_behind_when_it_was_set(
    clock: StackClock, machine: Machine
) -> None:
    rung = asyncio.Event()
    alarm = Alarm(clock, rung.set)
    machine.now = START - 24 * HOUR
    alarm.set(START)
    await asyncio.sleep(0)

    machine.now = START
    alarm.set(START + 0.001)

    await asyncio.wait_for(rung.wait(), 60)


async def test_alarm_keeps_its_earliest_moment_over_a_turn(clock: StackClock) -> None:
    rung = asyncio.Event()
    alarm = Alarm(clock, rung.set)
    alarm.set(START + 2 * HOUR)
    await asyncio.sleep(0)

    await clock.advance(HOUR)
    alarm.set(START + 3 * HOUR)
    await asyncio.sleep(0)
    await clock.advance(HOUR)

    await asyncio.wait_for(rung.wait(), 60)


async def test_turning_back_is_refused(clock: StackClock) -> None:
    await clock.advance(HOUR)

    with pytest.raises(InvalidArgument, match="forward only") as refused:
        await clock.set(START + 60)

    assert rfc3339(START + 60) in refused.value.message
    assert clock.ahead == HOUR


@pytest.mark.parametrize("seconds", [0, -60, float("nan")])
async def test_advance_that_is_not_forward_is_refused(clock: StackClock, seconds: float) -> None:
    with pytest.raises(InvalidArgument, match="forward only"):
        await clock.advance(seconds)


async def test_turn_beyond_a_century_is_refused(clock: StackClock) -> None:
    with pytest.raises(InvalidArgument, match="100 years"):
        await clock.advance(duration("5300w"))


def test_duration_adds_its_parts() -> None:
    texts = ("90s", "1.5h", "1d12h", "2 w")
    assert [duration(text) for text in texts] == [90, 5400, 129_600, 1_209_600]


def test_duration_backwards_is_refused_with_the_way_back() -> None:
    with pytest.raises(InvalidArgument, match=r"forward only, not by '-5m'\. `devenv clock reset`"):
        duration("-5m")


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "1h-5m", "9" * 50 + "s"])
def test_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not a duration"):
        duration(text)


def test_moment_without_offset_is_utc() -> None:
    assert moment("2027-01-15T08:00") == moment("2027-01-15T09:00+01:00") == START


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-13-01"])
def test_malformed_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not a time"):
        moment(text)
