"""What a validator posts when it has stored its output."""

import logging
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from validibot_shared.validations.envelopes import ValidationCallback

from validibot.core.logging import bound_run
from validibot.core.storage import StorageError
from validibot.runs.findings import Settled, Settlement, follow, settle
from validibot.runs.launch.proof import NotProved, proved_attempt
from validibot.runs.models import Receipt
from validibot.runs.reconcile import ask_image
from validibot.runs.states import ACTIVE_ATTEMPT

MAX_BYTES = 64 * 1024
_ACTOR = "validator"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a validator: always a JSON object, 2xx when it need not call again."""

    status: int
    body: dict[str, Any]


def receive(body: bytes) -> Reply:
    """Process a callback as posted. Touches nothing unless its nonce is right."""
    try:
        callback = ValidationCallback.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "body"
        return _refusal(400, f"This is no callback: {where}: {fault['msg']}.")
    return process(callback)


def process(callback: ValidationCallback) -> Reply:
    """Verify a callback and apply the output that it announces."""
    try:
        attempt = proved_attempt(
            run_id=callback.run_id,
            callback_id=callback.callback_id,
            nonce=callback.callback_nonce,
        )
    except NotProved as error:
        return _refusal(error.status, str(error))
    with bound_run(callback.run_id):
        logger.info("callback says %s", callback.status.value)
        if attempt.state in ACTIVE_ATTEMPT:  # what has ended stays as it was
            ask_image(attempt)
        try:
            settlement = settle(attempt, result_uri=callback.result_uri, actor=_ACTOR)
        except StorageError as error:
            logger.warning("callback has to be repeated: %s", error)
            return Reply(503, {"message": "The output cannot be read now.", "retry": True})
        follow(settlement)
    return _reply(settlement, callback.callback_id)


def _reply(settlement: Settlement, callback_id: str) -> Reply:
    match settlement.how:
        case Settled.REJECTED:
            return _refusal(400, settlement.message)
        case Settled.BUSY:
            return Reply(409, {"message": "This callback is being processed.", "retry": True})
        case Settled.LATE:
            return Reply(200, {"message": "Too late.", "late_callback_ignored": True})
        case Settled.REPLAYED:
            received = Receipt.objects.get(callback_id=callback_id).received_at.isoformat()
            return Reply(
                200,
                {
                    "message": "This callback was processed before.",
                    "idempotent_replayed": True,
                    "original_received_at": received,
                },
            )
    return Reply(200, {"message": "Processed."})


def _refusal(status: int, message: str) -> Reply:
    logger.warning("callback refused: %s", message)
    return Reply(status, {"message": message, "detail": message})
