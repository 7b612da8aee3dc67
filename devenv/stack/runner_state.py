"""States of a service, and the changes between them that are possible."""

from collections.abc import Mapping
from enum import StrEnum


class RunnerState(StrEnum):
    """State of a service: servers end up healthy, steps end up done."""

    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    DONE = "done"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


TRANSITIONS: Mapping[RunnerState, frozenset[RunnerState]] = {
    RunnerState.WAITING: frozenset(
        {RunnerState.STARTING, RunnerState.DONE, RunnerState.STOPPING, RunnerState.FAILED}
    ),
    RunnerState.STARTING: frozenset(
        {
            RunnerState.HEALTHY,
            RunnerState.DONE,
            RunnerState.RESTARTING,
            RunnerState.STOPPING,
            RunnerState.FAILED,
        }
    ),
    RunnerState.HEALTHY: frozenset(
        {RunnerState.RESTARTING, RunnerState.STOPPING, RunnerState.FAILED}
    ),
    RunnerState.RESTARTING: frozenset(
        {RunnerState.STARTING, RunnerState.STOPPING, RunnerState.FAILED}
    ),
    RunnerState.DONE: frozenset({RunnerState.STARTING, RunnerState.STOPPING}),
    RunnerState.STOPPING: frozenset({RunnerState.STOPPED}),
    RunnerState.STOPPED: frozenset({RunnerState.WAITING}),
    RunnerState.FAILED: frozenset(
        {RunnerState.WAITING, RunnerState.STARTING, RunnerState.STOPPING}
    ),
}
