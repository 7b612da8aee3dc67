"""The moments of a run's life: written as rows, told to every process, awaited."""

from validibot.runs.events.record import record
from validibot.runs.events.wait import (
    changes,
    release_connection,
    wait_until_finished,
)

__all__ = ["changes", "record", "release_connection", "wait_until_finished"]
