"""Settings of policies, channels and uptime checks: validation, and Google's defaults."""

import math
import re
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.messages import every, refuse_unemulated, seconds
from devenv.gcp.monitoring.filters import parse_filter

monitoring = client_types("google.cloud.monitoring_v3")

Policy: Any = monitoring.AlertPolicy.pb()
Channel: Any = monitoring.NotificationChannel.pb()
UptimeCheck: Any = monitoring.UptimeCheckConfig.pb()

_AGGREGATION = every(
    "alignment_period", "per_series_aligner", "cross_series_reducer", "group_by_fields"
)
_POLICY = every(
    *("name", "display_name", "user_labels", "combiner", "enabled", "notification_channels"),
    *("severity", "creation_record", "mutation_record"),
    documentation=every("content", "mime_type", "subject"),
    alert_strategy=every("auto_close"),
    conditions=every(
        *("name", "display_name"),
        condition_threshold=every(
            *("filter", "denominator_filter", "comparison", "threshold_value", "duration"),
            *("trigger", "evaluation_missing_data"),
            aggregations=_AGGREGATION,
            denominator_aggregations=_AGGREGATION,
        ),
    ),
)
_CHANNEL = every(
    *("type_", "name", "display_name", "description", "labels", "user_labels", "enabled"),
    *("verification_status", "creation_record", "mutation_records"),
)
_UPTIME = every(
    *("name", "display_name", "period", "timeout", "user_labels", "checker_type"),
    monitored_resource=every("type", "labels"),
    http_check=every("request_method", "use_ssl", "path", "port", "validate_ssl"),
)
# The label that a channel of each type must have.
_ADDRESS = {"email": "email_address", "sms": "number", "webhook_tokenauth": "url"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_PERIODS = (60, 300, 600, 900)
_MINUTE = 60


def complete_policy(policy: Any) -> None:
    """Check an alert policy. Raises InvalidArgument or Unimplemented."""
    refuse_unemulated(policy, _POLICY, where="alert_policy")
    _require("alert_policy.display_name", policy.display_name)
    if not 1 <= len(policy.conditions) <= 6:
        raise InvalidArgument("alert_policy.conditions must have 1 to 6 conditions.")
    if not policy.combiner:
        raise InvalidArgument("alert_policy.combiner is required, for example OR.")
    for index, condition in enumerate(policy.conditions):
        if not math.isfinite(condition.condition_threshold.threshold_value):
            raise InvalidArgument(
                f"alert_policy.conditions[{index}].condition_threshold.threshold_value must be finite."
            )
        _check_condition(f"alert_policy.conditions[{index}]", condition)
    if not policy.HasField("enabled"):
        policy.enabled.value = True


def complete_channel(channel: Any) -> None:
    """Check a notification channel. Raises InvalidArgument or Unimplemented."""
    refuse_unemulated(channel, _CHANNEL, where="notification_channel")
    kind = channel.type_
    if kind not in _ADDRESS:
        raise Unimplemented(
            f"notification_channel.type is {kind[:60]!r}; emulated are {', '.join(_ADDRESS)}."
        )
    address = channel.labels.get(_ADDRESS[kind], "")
    if not address or (kind == "email" and not _EMAIL.fullmatch(address)):
        raise InvalidArgument(
            f"notification_channel.labels: {_ADDRESS[kind]} is {address[:100]!r}, which is not valid."
        )
    if not channel.HasField("enabled"):
        channel.enabled.value = True


def complete_uptime_check(check: Any) -> None:
    """Check an uptime check, and fill in its times. Raises InvalidArgument or Unimplemented."""
    refuse_unemulated(check, _UPTIME, where="uptime_check_config")
    _require("uptime_check_config.display_name", check.display_name)
    if check.monitored_resource.type != "uptime_url" or not check.HasField("http_check"):
        raise Unimplemented("uptime_check_config: only http_check of an uptime_url is emulated.")
    _require(
        "uptime_check_config.monitored_resource.labels.host",
        check.monitored_resource.labels["host"],
    )
    if not check.HasField("period"):
        check.period.seconds = _MINUTE
    if not check.HasField("timeout"):
        check.timeout.seconds = 10
    if seconds(check.period) not in _PERIODS:
        raise InvalidArgument("uptime_check_config.period must be 60s, 300s, 600s or 900s.")
    if not 1 <= seconds(check.timeout) <= 60:
        raise InvalidArgument("uptime_check_config.timeout must be between 1 and 60 seconds.")
    http = check.http_check
    http.path = http.path or "/"
    http.port = http.port or (443 if http.use_ssl else 80)
    http.request_method = http.request_method or 1  # GET


def _check_condition(where: str, condition: Any) -> None:
    threshold = condition.condition_threshold
    _require(f"{where}.display_name", condition.display_name)
    parse_filter(f"{where}.condition_threshold.filter", threshold.filter)
    if threshold.denominator_filter:
        parse_filter(
            f"{where}.condition_threshold.denominator_filter", threshold.denominator_filter
        )
    if not threshold.comparison:
        raise InvalidArgument(f"{where}.condition_threshold.comparison is required.")
    if seconds(threshold.duration) % _MINUTE:
        raise InvalidArgument(f"{where}.condition_threshold.duration must be whole minutes.")
    for each in (*threshold.aggregations, *threshold.denominator_aggregations):
        if seconds(each.alignment_period) < _MINUTE:
            raise InvalidArgument(f"{where}: alignment_period must be at least 60 seconds.")


def _require(where: str, text: str) -> None:
    if not 1 <= len(text) <= 512:
        raise InvalidArgument(f"{where} is {text[:60]!r}; it must have 1 to 512 characters.")
