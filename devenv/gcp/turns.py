"""Tasks that begin in the present turn of the event loop.

On a busy machine each turn waits for the processor; work that need not wait does not take one.
"""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return a task that has run up to its first wait; in Python 3.11 it begins with the next turn."""
    return asyncio.Task(work, loop=asyncio.get_running_loop(), **_AT_ONCE)
