"""Protobuf messages: their moments, durations and update masks."""

from typing import Any

from devenv.gcp.errors import InvalidArgument

_LATEST = 253_402_300_799  # the end of the year 9999, the last moment of a Timestamp


def seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos / 1e9)


def moment(timestamp: Any) -> float:
    """Return Unix seconds. Raises InvalidArgument for what is no moment of the years 1 to 9999."""
    if not (-62_135_596_800 <= timestamp.seconds <= _LATEST and 0 <= timestamp.nanos < 10**9):
        raise InvalidArgument("The timestamp is out of range.")
    return float(timestamp.seconds + timestamp.nanos / 1e9)


def set_moment(timestamp: Any, unix: float) -> None:
    """Set a Timestamp to Unix seconds, truncated to the microsecond."""
    micros = int(unix * 1e6)
    timestamp.seconds, timestamp.nanos = micros // 10**6, micros % 10**6 * 1000


def masked(state: Any, wanted: Any, mask: Any) -> Any:
    """Return `state` with the fields that `mask` names taken from `wanted`; all without a mask."""
    if not mask.paths:
        return wanted
    if not mask.IsValidForDescriptor(state.DESCRIPTOR):
        raise InvalidArgument("The update mask names a field that the resource does not have.")
    merged = type(state)()
    merged.CopyFrom(state)
    mask.MergeMessage(wanted, merged, replace_message_field=True, replace_repeated_field=True)
    return merged
