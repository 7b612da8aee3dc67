"""Protobuf messages: times, durations, update masks, pages, and fields that are not emulated."""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument, Unimplemented

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


def refuse_unemulated(message: Any, emulated: "Emulated", *, where: str) -> None:
    """Refuse every set field that `emulated` does not name. Raises Unimplemented.

    `emulated` maps a field to None, or to the same for the message in it. A field that a newer
    client adds is refused too, rather than accepted without effect.
    """
    for field, value in message.ListFields():
        path = f"{where}.{field.name}" if where else field.name
        if field.name not in emulated:
            raise Unimplemented(f"{path} is not emulated.")
        inner = emulated[field.name]
        if inner is not None:
            for each in value if field.is_repeated else [value]:
                refuse_unemulated(each, inner, where=path)


Emulated: TypeAlias = "Mapping[str, Emulated | None]"


def every(*names: str, **inner: Emulated) -> Emulated:
    """Return the `Emulated` of plain fields and of fields with messages in them."""
    return {**dict.fromkeys(names), **inner}


def masked(state: Any, wanted: Any, mask: Any) -> Any:
    """Return `state` with the fields that `mask` names taken from `wanted`; all without a mask.

    A part of a message that `wanted` does not have is cleared like every other field.
    """
    if not mask.paths:
        return wanted
    if not mask.IsValidForDescriptor(state.DESCRIPTOR):
        raise InvalidArgument("The update mask names a field that the resource does not have.")
    merged = type(state)()
    merged.CopyFrom(state)
    given = type(state)()
    given.CopyFrom(wanted)
    for path in mask.paths:
        part = given
        for name in path.split(".")[:-1]:
            part = getattr(part, name)
            part.SetInParent()
    mask.MergeMessage(given, merged, replace_message_field=True, replace_repeated_field=True)
    return merged


def page(names: Iterable[str], *, size: int, token: str, most: int) -> tuple[list[str], str]:
    """Return the sorted names that follow `token`, at most `size`, and the token of the next page."""
    last = _last_of(size, token)
    ordered = sorted(names)
    return _slice(ordered, bisect_right(ordered, last) if last else 0, min(size or most, most))


def page_in_order(names: Sequence[str], request: Any, *, most: int) -> tuple[list[str], str]:
    """Return the same of a list that has an order of its own, for a request with page fields."""
    last = _last_of(request.page_size, request.page_token)
    if last and last not in names:
        raise InvalidArgument("The page token is not valid any more.")
    start = names.index(last) + 1 if last else 0
    return _slice(names, start, min(request.page_size or most, most))


def _last_of(size: int, token: str) -> str:
    if size < 0:
        raise InvalidArgument("Page size cannot be negative.")
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("The page token is not valid.") from error


def _slice(ordered: Sequence[str], start: int, size: int) -> tuple[list[str], str]:
    chosen = list(ordered[start : start + size])
    more = start + len(chosen) < len(ordered)
    return chosen, base64.urlsafe_b64encode(chosen[-1].encode()).decode() if more else ""
