"""Wait until something happens to a run: in a thread, or in an event loop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

from django.db import connection

from validibot.runs.events.listener import listener
from validibot.runs.models import Run
from validibot.runs.states import RUN, terminal


def wait_until_finished(run_id: UUID, *, timeout: float) -> bool:
    """Wait until the run has ended, at most `timeout` seconds; return whether it has."""
    ended = Run.objects.filter(pk=run_id, status__in=terminal(RUN))
    deadline = time.monotonic() + timeout
    changed = threading.Event()
    with listener.watching(run_id, changed.set, ends_only=True):
        while not ended.exists():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            release_connection()
            changed.wait(min(left, listener.patience))
            changed.clear()
    return True


async def changes(
    run_id: UUID, *, every: float = 15.0, ends_only: bool = False
) -> AsyncIterator[None]:
    """Yield at once, after each change of the run, and at least every `every` seconds.

    With `ends_only` the changes before the end of the run are left out.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop may have ended between two of our steps
            loop.call_soon_threadsafe(changed.set)

    with listener.watching(run_id, wake, ends_only=ends_only):
        while True:
            yield
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(every, listener.patience))
            changed.clear()


def release_connection() -> None:
    """Return the thread's connection to the pool, unless a transaction is open.

    Threads that wait (for a run, for the queue) are more than the pool has connections.
    """
    if not connection.in_atomic_block:
        connection.close()
