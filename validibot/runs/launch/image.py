"""What pins the image of an execution: some providers look it up only after the launch."""

from validibot.runs.backends import get_backend
from validibot.runs.backends.base import ExecutionState, StateUnavailable
from validibot.runs.models import Attempt


def ask_image(attempt: Attempt) -> None:
    """Ask what the launch was too early to tell; who cannot be asked now is not waited for."""
    if attempt.image_digest or not attempt.execution:
        return
    try:
        state = get_backend(attempt.backend).state(attempt.execution)
    except StateUnavailable:
        return
    note_image(attempt, state)


def note_image(attempt: Attempt, state: ExecutionState) -> None:
    """Record it, once."""
    if state.image_digest and not attempt.image_digest:
        attempt.image_digest = state.image_digest
        attempt.save(update_fields=["image_digest"])
