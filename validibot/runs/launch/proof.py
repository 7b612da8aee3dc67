"""Who speaks for an attempt: a validator that knows the secret of its input envelope."""

import re
from uuid import UUID

from validibot.runs.launch.nonce import matches
from validibot.runs.models import Attempt

_CALLBACK_ID = re.compile(r"execution-attempt-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class NotProved(Exception):
    """`status` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def proved_attempt(*, run_id: str, callback_id: str, nonce: str) -> Attempt:
    """Return the attempt that the caller knows the secret of. Raises NotProved."""
    attempt = _attempt(callback_id)
    if attempt is None or str(attempt.step_run.run_id) != run_id:
        raise NotProved(400, "No attempt of this run has this callback_id.")
    if not matches(nonce, attempt.nonce_digest):
        raise NotProved(403, "The callback_nonce is wrong.")
    return attempt


def _attempt(callback_id: str) -> Attempt | None:
    match = _CALLBACK_ID.fullmatch(callback_id)
    if not match:
        return None
    attempts = Attempt.objects.select_related("step_run__step__validator")
    return attempts.filter(pk=UUID(match[1])).first()
