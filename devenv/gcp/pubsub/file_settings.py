"""Settings of subscriptions that write to Cloud Storage: what callers may send, and defaults."""

from typing import Any

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.messages import Emulated, every, refuse_unemulated, seconds

FILE_FIELDS: Emulated = every(
    *("bucket", "filename_prefix", "filename_suffix", "filename_datetime_format", "text_config"),
    *("max_duration", "max_bytes", "max_messages", "state", "service_account_email"),
)
_DEFAULT_DURATION, _LEAST_DURATION, _MOST_DURATION = 300, 60.0, 600.0
_LEAST_BYTES, _MOST_BYTES = 1000, 10 << 30
_LEAST_MESSAGES = 1000


def complete_files(config: Any) -> None:
    """Check the configuration of a subscription, and fill in defaults. Raises CloudError."""
    refuse_unemulated(config, FILE_FIELDS, where="cloud_storage_config")
    if not config.bucket:
        raise InvalidArgument("cloud_storage_config.bucket is missing.")
    config.text_config.SetInParent()
    if config.filename_suffix.endswith("/"):
        raise InvalidArgument("cloud_storage_config.filename_suffix must not end in '/'.")
    if not config.HasField("max_duration"):
        config.max_duration.seconds = _DEFAULT_DURATION
    if not _LEAST_DURATION <= seconds(config.max_duration) <= _MOST_DURATION:
        raise InvalidArgument("cloud_storage_config.max_duration must be 1 to 10 minutes.")
    if config.max_bytes and not _LEAST_BYTES <= config.max_bytes <= _MOST_BYTES:
        raise InvalidArgument("cloud_storage_config.max_bytes must be 1 KB to 10 GiB.")
    if config.max_messages and config.max_messages < _LEAST_MESSAGES:
        raise InvalidArgument(
            f"cloud_storage_config.max_messages must be {_LEAST_MESSAGES} or more."
        )
    config.state = type(config).ACTIVE
