"""A validator that runs for longer than its right to its files lasts asks for a new one."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from validibot.core.storage import StorageError
from validibot.core.storage.capability import mint
from validibot.runs.backends import get_backend
from validibot.runs.launch.proof import NotProved, proved_attempt
from validibot.runs.models import Attempt
from validibot.runs.states import ACTIVE_ATTEMPT, AttemptState


class _Question(BaseModel):
    model_config = ConfigDict(extra="ignore")

    run_id: str = Field(max_length=100)
    callback_id: str = Field(max_length=200)
    callback_nonce: str = Field(max_length=200)


def renew(body: bytes) -> tuple[int, dict[str, Any]]:
    """Answer a validator: status and JSON object, as the published containers expect them."""
    try:
        asked = _Question.model_validate_json(body)
        attempt = proved_attempt(
            run_id=asked.run_id, callback_id=asked.callback_id, nonce=asked.callback_nonce
        )
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "body"
        return 400, {"detail": f"This asks for no capability: {where}: {fault['msg']}."}
    except NotProved as error:
        return error.status, {"detail": str(error)}
    if refusal := _refusal(attempt):
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


def _refusal(attempt: Attempt) -> tuple[int, dict[str, Any]] | None:
    if attempt.state not in ACTIVE_ATTEMPT - {AttemptState.PENDING}:
        return 409, {"detail": "This attempt has ended; it has no more right to its files."}
    if not get_backend(attempt.backend).confines:
        return 400, {"detail": "This attempt was given no capability; there is none to renew."}
    return None
