"""Meaning of the states on badges: one table, from which the style takes its colours."""

from collections.abc import Mapping

_STATES: Mapping[str, tuple[str, ...]] = {
    "good": (
        "active",
        "allowed",
        "available",
        "bound",
        "deployed",
        "done",
        "enabled",
        "ga",
        "healthy",
        "ready",
        "reserved",
        "runnable",
        "running",
        "succeeded",
        "successful",
    ),
    "bad": (
        "alert",
        "critical",
        "dead letter",
        "deleted",
        "denied",
        "destroyed",
        "emergency",
        "error",
        "failed",
        "out of memory",
    ),
    "caution": (
        "cancelled",
        "detached",
        "disabled",
        "not bound",
        "paused",
        "restarting",
        "returned",
        "stopping",
        "suspended",
        "unknown",
        "warning",
    ),
    "quiet": ("debug", "default", "ended", "over", "stopped"),
}
_TONES = {state: tone for tone, states in _STATES.items() for state in states}


def tone(state: str) -> str:
    """Return good, bad, caution or quiet for a state, and `neutral` for all others."""
    return _TONES.get(state.lower(), "neutral")
