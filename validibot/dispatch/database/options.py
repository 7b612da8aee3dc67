"""The OPTIONS of the backend: how long, how often, and what is due when."""

import datetime as dt
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.core.exceptions import ImproperlyConfigured

_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Options:
    """`max_attempts`, `min_backoff` and `max_backoff` mean what they mean for a Cloud Tasks queue."""

    # A worker that gave no sign of life for so long is dead, and its tasks are another's.
    lease_seconds: float = 20
    # A worker looks so often by itself; what is due at once wakes it.
    poll_seconds: float = 1
    max_attempts: int = 30
    min_backoff: float = 1
    max_backoff: float = 60
    # Path of a task → when it is due, as a crontab line.
    periodic: Mapping[str, str] = field(default_factory=dict)

    @property
    def beat_seconds(self) -> float:
        """Return how often a worker shows that it lives, and looks for those that do not."""
        return self.lease_seconds / 4

    @property
    def takeover_seconds(self) -> float:
        """Return the longest that a killed worker's task waits for another worker."""
        return self.lease_seconds + self.beat_seconds + self.poll_seconds

    def backoff(self, attempts: int) -> dt.timedelta:
        """Return how long to wait after so many attempts: doubling, and never two tasks alike."""
        longest = min(self.min_backoff * 2 ** min(attempts - 1, 32), self.max_backoff)
        return dt.timedelta(seconds=_random.uniform(longest / 2, longest))


def parse(alias: str, given: Mapping[str, Any]) -> Options:
    """Raises ImproperlyConfigured, which names what is wrong."""
    known = {each.name for each in fields(Options)}
    where = f"TASKS[{alias!r}]: OPTIONS"
    if unknown := sorted(set(given) - known):
        raise ImproperlyConfigured(
            f"{where} has {', '.join(unknown)}; it takes {', '.join(sorted(known))}."
        )
    for name, value in given.items():
        right = isinstance(value, Mapping) if name == "periodic" else _is_positive(value)
        if not right:
            wanted = "map tasks to crontab lines" if name == "periodic" else "be a number above 0"
            raise ImproperlyConfigured(f"{where}[{name!r}] is {value!r}; it must {wanted}.")
    return Options(**given)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
