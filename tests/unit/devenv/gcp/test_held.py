"""Deliveries that a fault holds back."""

import asyncio
from collections.abc import Callable

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.held import HeldDeliveries

TARGET = "http://app.test/tasks"


@pytest.mark.parametrize(
    ("release", "over"),
    [
        (lambda held: held.release_target(TARGET), True),
        (lambda held: held.release_target("http://app.test/other"), False),
        (lambda held: held.release_fault(7), True),
        (lambda held: held.release_fault(8), False),
    ],
    ids=["its target", "another target", "its fault", "another fault"],
)
def test_hold_ends_with_its_target_or_its_fault(
    release: Callable[[HeldDeliveries], None], over: bool
) -> None:
    async def held_until_released() -> bool:
        clock = ManualClock()
        held = HeldDeliveries(clock)
        hold = asyncio.create_task(held.hold(TARGET, 7, 30.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        release(held)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done = hold.done()
        await clock.turn(30.0)
        await hold
        return done

    assert asyncio.run(held_until_released()) is over


def test_delivery_behind_a_held_one_is_not_held() -> None:
    async def next_of_same_fault() -> tuple[bool, bool]:
        held = HeldDeliveries(ManualClock())
        first = asyncio.create_task(held.hold(TARGET, 7, 30.0))
        await asyncio.sleep(0)
        following = asyncio.create_task(held.hold(TARGET, 7, 30.0))
        await asyncio.sleep(0)
        done = first.done(), following.done()
        held.release_target(TARGET)
        await asyncio.gather(first, following)
        return done

    assert asyncio.run(next_of_same_fault()) == (False, True)
