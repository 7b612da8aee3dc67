"""The one way in which tests wait for something that happens in another process or thread."""

import os
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 60.0


def until[T](
    question: Callable[[], T],
    *,
    seconds: float = LIMIT,
    every: float = 0.05,
    progress: Callable[[], object] | None = None,
    forgive: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Ask until the answer is true, and return it.

    `seconds` bounds how long nothing may happen on a machine with nothing else to do. It is
    stretched by the load of the machine, and begins anew whenever `progress` returns something
    other than before. Errors of the kind `forgive` count as "not yet".
    Raises AssertionError, which names the last answer or error.
    """
    seen = progress and progress()
    since = time.monotonic()
    while True:
        last: object
        try:
            if last := question():
                return last
        except forgive as error:
            last = error
        if progress and (now := progress()) != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() > since + seconds * slowdown():
            raise AssertionError(f"not true within {seconds:g} s; last: {last!r}")
        time.sleep(every)


def slowdown() -> float:
    """Return how many processes compete for each processor: 1.0 if none has to wait."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def growth(*folders: Path) -> Callable[[], object]:
    """Return a measure of progress: the sizes of all files under these folders."""

    def sizes() -> dict[Path, int]:
        found = {}
        for folder in folders:
            for path in folder.rglob("*"):
                try:
                    found[path] = path.stat().st_size
                except OSError:
                    continue  # it was deleted or replaced meanwhile
        return found

    return sizes
