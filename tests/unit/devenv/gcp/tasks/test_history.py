"""Depth and deliveries of a queue over time."""

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.tasks.state import QueueHistory

pytestmark = pytest.mark.anyio


async def test_history_keeps_depth_between_notes() -> None:
    clock = ManualClock()
    history = QueueHistory(clock)
    history.note(3)
    history.note(2, delivered=1)
    await clock.turn(3 * QueueHistory.STEP)
    depths, deliveries = history.read(1)

    assert depths[-4:] == [3, 3, 3, 1]
    assert deliveries[-4:] == [1, 0, 0, 0]


async def test_history_forgets_after_ten_minutes() -> None:
    clock = ManualClock()
    history = QueueHistory(clock)
    for _ in range(200):
        history.note(5, delivered=1)
        await clock.turn(QueueHistory.STEP)
    depths, deliveries = history.read(0)

    assert len(depths) == len(deliveries) == QueueHistory.STEPS
    assert sum(deliveries) == QueueHistory.STEPS - 1
