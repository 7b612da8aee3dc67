"""The states of a service and which may follow which."""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Servers end up healthy, steps end up done."""

    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    DONE = "done"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


FOLLOWS: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.STARTING, State.DONE, State.STOPPING, State.FAILED}),
    State.STARTING: frozenset(
        {State.HEALTHY, State.DONE, State.RESTARTING, State.STOPPING, State.FAILED}
    ),
    State.HEALTHY: frozenset({State.RESTARTING, State.STOPPING, State.FAILED}),
    State.RESTARTING: frozenset({State.STARTING, State.STOPPING, State.FAILED}),
    State.DONE: frozenset({State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset({State.STOPPING}),
}
