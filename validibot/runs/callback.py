"""Requests of validators: callbacks, and renewals of their storage capability.

Both prove by the nonce of the input envelope which attempt speaks, and change nothing unless it is
right. A callback only says that the output is there; the stored object decides. A reply is always a
JSON object, and 2xx when the validator need not call again. A validator that runs for longer than
its capability lasts asks for a new one, until its attempt has ended.
"""

import logging
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from validibot_shared.validations.envelopes import ValidationCallback

from validibot.core.envelopes import faults_of
from validibot.core.logging import bound_run
from validibot.core.storage import StorageError
from validibot.core.storage.capability import mint
from validibot.engines import EngineBusy
from validibot.runs.backends import get_backend
from validibot.runs.launch import nonce_matches
from validibot.runs.models import Attempt, CallbackReceipt
from validibot.runs.outcome import ApplyResult, apply_callback
from validibot.runs.reconcile import ask_image
from validibot.runs.states import ACTIVE_ATTEMPT, AttemptState

_CALLBACK_ID = re.compile(r"execution-attempt-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CallbackReply:
    """The answer to a validator."""

    status: int
    body: dict[str, Any]


class AttemptNotProved(Exception):
    """The request does not prove that it comes from an attempt. `status` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CapabilityRequest(BaseModel):
    """The body with which a validator asks for a new capability."""

    model_config = ConfigDict(extra="ignore")

    run_id: str = Field(max_length=100)
    callback_id: str = Field(max_length=200)
    callback_nonce: str = Field(max_length=200)


def handle(body: bytes) -> CallbackReply:
    """Process a callback as posted."""
    try:
        callback = ValidationCallback.model_validate_json(body)
    except ValidationError as error:
        return _refusal(400, f"Invalid callback: {faults_of(error, root='body')}.")
    return process(callback)


def process(callback: ValidationCallback) -> CallbackReply:
    """Verify a callback and apply the output that it announces."""
    try:
        attempt = _proved_attempt(
            run_id=callback.run_id,
            callback_id=callback.callback_id,
            nonce=callback.callback_nonce,
        )
    except AttemptNotProved as error:
        return _refusal(error.status, str(error))
    with bound_run(callback.run_id):
        logger.info("callback says %s", callback.status.value)
        if attempt.state in ACTIVE_ATTEMPT:  # an attempt that has ended stays as it was
            ask_image(attempt)
        try:
            outcome, message = apply_callback(attempt, result_uri=callback.result_uri)
        except (StorageError, EngineBusy) as error:
            logger.warning("callback has to be repeated: %s", error)
            return CallbackReply(503, {"message": "The output cannot be read now.", "retry": True})
    return _reply(outcome, message, callback.callback_id)


def renew_capability(body: bytes) -> tuple[int, dict[str, Any]]:
    """Answer a validator: status and JSON object, as the published containers expect them."""
    try:
        asked = CapabilityRequest.model_validate_json(body)
        attempt = _proved_attempt(
            run_id=asked.run_id, callback_id=asked.callback_id, nonce=asked.callback_nonce
        )
    except ValidationError as error:
        return 400, {"detail": f"Invalid capability request: {faults_of(error, root='body')}."}
    except AttemptNotProved as error:
        return error.status, {"detail": str(error)}
    if refusal := _capability_refusal(attempt):
        return refusal
    try:
        capability = mint(attempt.bundle_uri)
    except StorageError as error:
        return 503, {"detail": str(error)}
    return 200, {
        "access_token": capability.token,
        "expires_at": capability.expires_at.isoformat(),
        "allowed_prefix": capability.prefix,
    }


def _capability_refusal(attempt: Attempt) -> tuple[int, dict[str, Any]] | None:
    if attempt.state not in ACTIVE_ATTEMPT - {AttemptState.PENDING}:
        return 409, {"detail": "The attempt has ended; it gets no capability any more."}
    if not get_backend(attempt.backend).confines:
        return 400, {"detail": "The attempt was given no capability; there is none to renew."}
    return None


def _proved_attempt(*, run_id: str, callback_id: str, nonce: str) -> Attempt:
    """Return the attempt whose nonce the caller knows. Raises AttemptNotProved."""
    match = _CALLBACK_ID.fullmatch(callback_id)
    attempts = Attempt.objects.select_related("step_run__step__validator")
    attempt = attempts.filter(pk=UUID(match[1])).first() if match else None
    if attempt is None or str(attempt.step_run.run_id) != run_id:
        raise AttemptNotProved(400, "No attempt of this run has this callback_id.")
    if not nonce_matches(nonce, attempt.nonce_digest):
        raise AttemptNotProved(403, "The callback_nonce is wrong.")
    return attempt


def _reply(outcome: ApplyResult, message: str, callback_id: str) -> CallbackReply:
    match outcome:
        case ApplyResult.REJECTED:
            return _refusal(400, message)
        case ApplyResult.BUSY:
            return CallbackReply(
                409, {"message": "This callback is being processed.", "retry": True}
            )
        case ApplyResult.LATE:
            return CallbackReply(200, {"message": "Too late.", "late_callback_ignored": True})
        case ApplyResult.REPLAYED:
            received = CallbackReceipt.objects.get(callback_id=callback_id).received_at.isoformat()
            return CallbackReply(
                200,
                {
                    "message": "This callback was processed before.",
                    "idempotent_replayed": True,
                    "original_received_at": received,
                },
            )
    return CallbackReply(200, {"message": "Processed."})


def _refusal(status: int, message: str) -> CallbackReply:
    logger.warning("callback refused: %s", message)
    return CallbackReply(status, {"message": message, "detail": message})
