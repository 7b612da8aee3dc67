"""Variables of a validator that is confined to its attempt's folder by a capability."""

from validibot.core.storage.capability import StorageCapability
from validibot.core.trace import VARIABLE, traceparent
from validibot.runs.backends.base import LaunchRequest

INPUT_URI = "VALIDIBOT_INPUT_URI"
OUTPUT_URI = "VALIDIBOT_OUTPUT_URI"
RUN_ID = "VALIDIBOT_RUN_ID"


def confined_environment(request: LaunchRequest, capability: StorageCapability) -> dict[str, str]:
    """Return the variables that name an attempt's files and give its capability."""
    return {
        INPUT_URI: request.input_uri,
        OUTPUT_URI: request.output_uri,
        RUN_ID: str(request.run_id),
        VARIABLE: traceparent(request.run_id),
        "VALIDIBOT_GCS_CAPABILITY_REQUIRED": "true",
        "VALIDIBOT_GCS_ACCESS_TOKEN": capability.token,
        "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": capability.expires_at.isoformat(),
        "VALIDIBOT_GCS_ALLOWED_PREFIX": capability.prefix,
        "VALIDIBOT_GCS_PROJECT_ID": capability.project,
        "VALIDIBOT_GCS_CAPABILITY_REFRESH_URL": request.capability_url,
    }
