"""What of the worker can be reached through the tunnel, and by whom. Everything else is not there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from devenv.tunnel.config import TunnelConfig

TASKS = "/internal/tasks/"
CALLBACKS = "/internal/callbacks/"
CAPABILITIES = "/internal/capabilities/"
SWEEP = "/internal/schedules/reconcile/"


@dataclass(frozen=True, slots=True)
class Door:
    """`kept`: what comes through is saved, to be replayed."""

    name: str
    callers: Collection[str]
    kept: bool = False


def doors(config: TunnelConfig) -> Mapping[str, Door]:
    """Return the doors by their exact path."""
    return {
        TASKS: Door("tasks", (config.tasks_account,)),
        CALLBACKS: Door("callbacks", config.validator_accounts, kept=True),
        CAPABILITIES: Door("capabilities", config.validator_accounts),
        SWEEP: Door("schedules", (config.scheduler_account,)),
    }


# The worker sees these and no other header: nothing that a proxy on the way may act upon.
_PASSED = ("authorization", "content-type", "traceparent", "user-agent", "x-cloud-trace-context")
_FAMILIES = ("x-cloudtasks-", "x-cloudscheduler")


def passed(fields: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that the worker gets to see."""
    return [pair for pair in fields if pair[0] in _PASSED or pair[0].startswith(_FAMILIES)]
