"""A log entry as filters read it: its bytes, its message or its JSON, whichever is the cheapest."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeAlias

from google.logging.type.log_severity_pb2 import LogSeverity
from google.protobuf.json_format import MessageToDict

from devenv.gcp.client_types import client_types

types = client_types("google.cloud.logging_v2")

LogEntry = types.LogEntry.pb()

# Texts of numbers, times and durations, which are not in the bytes of an entry as they are shown.
_NUMERIC = re.compile(r"[0-9e+.:tzs-]*")
_WORDS = ("true", "false", "null")
_TIMES = ("timestamp", "receiveTimestamp")
_NAMES = {number: name for name, number in LogSeverity.items()}


class EntryView:
    """A log entry, given as its message or its bytes; the rest is made when a filter asks for it."""

    def __init__(self, entry: Any = None, *, value: bytes = b"") -> None:
        if entry is not None:
            self.entry = entry
        else:
            self._value = value

    @cached_property
    def entry(self) -> Any:
        return LogEntry.FromString(self._value)

    @cached_property
    def fields(self) -> dict[str, Any]:
        return dict(MessageToDict(self.entry))

    @cached_property
    def folded(self) -> str:
        """The bytes as a text without case: it contains each string of the entry, and each key.

        A string is complete in it: the byte before one ends a length, and so begins no character.
        """
        return self._value.decode("utf-8", "replace").casefold()

    @cached_property
    def _value(self) -> bytes:
        return bytes(self.entry.SerializeToString())

    def texts(self, *, times: bool = True) -> Iterator[str]:
        """Yield the texts of all values, as those of the JSON are; the times only on demand."""
        if "fields" in self.__dict__:
            yield from texts_in(self.fields)
            return
        for field, value in self.entry.ListFields():
            if read := _READ.get(field.json_name):
                yield from texts_in(read(self.entry))
            elif field.json_name in _TIMES:
                if times:
                    yield value.ToJsonString()
            elif field.json_name == "severity":
                yield _NAMES.get(value, str(value))
            else:
                yield from texts_in(self.fields[field.json_name])

    def field(self, name: str) -> Any:
        """Return the JSON of one field of LogEntry, None if the entry does not have it."""
        read = _READ.get(name)
        if read is None or "fields" in self.__dict__:
            return self.fields.get(name)
        return read(self.entry)


def _json_payload(entry: Any) -> Any:
    if not entry.HasField("json_payload"):
        return None
    return {key: _plain(value) for key, value in entry.json_payload.fields.items()}


def _plain(value: Any) -> Any:
    """Return a google.protobuf.Value as its JSON, in half the time of MessageToDict."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _plain(each) for key, each in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    return None if kind in ("null_value", None) else getattr(value, kind)


def _text_payload(entry: Any) -> Any:
    return entry.text_payload if entry.HasField("text_payload") else None


def _resource(entry: Any) -> Any:
    if not entry.HasField("resource"):
        return None
    resource = entry.resource
    return {
        **({"type": resource.type} if resource.type else {}),
        **({"labels": dict(resource.labels)} if resource.labels else {}),
    }


# The fields that most filters ask for; the JSON of a whole entry takes ten times as long.
_READ: dict[str, Callable[[Any], Any]] = {
    "logName": lambda entry: entry.log_name or None,
    "insertId": lambda entry: entry.insert_id or None,
    "trace": lambda entry: entry.trace or None,
    "labels": lambda entry: dict(entry.labels) or None,
    "resource": _resource,
    "textPayload": _text_payload,
    "jsonPayload": _json_payload,
}

EntryTest: TypeAlias = Callable[[EntryView], bool]


def text_of(value: Any) -> str:
    """Return a value as the text that filters compare."""
    return value if isinstance(value, str) else json.dumps(value)


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of all values inside a value."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
    else:
        yield text_of(value)


def is_in_strings(folded: str) -> bool:
    """Return whether a text without case is in strings and names of severities only."""
    return not (_NUMERIC.fullmatch(folded) or any(folded in word for word in _WORDS))


def text_test(text: str) -> EntryTest:
    """Return the test of a value alone: some field contains it."""
    wanted = text.casefold()
    may_have, times = possible_test(wanted), not is_in_strings(wanted)
    return lambda view: (
        may_have(view) and any(wanted in each.casefold() for each in view.texts(times=times))
    )


def possible_test(folded: str) -> EntryTest:
    """Return a cheap test that every entry passes which has a text without case in a value."""
    if not is_in_strings(folded):
        return lambda _view: True
    levels = {number for number, name in _NAMES.items() if number and folded in name.casefold()}
    if not levels:
        return lambda view: folded in view.folded
    return lambda view: folded in view.folded or view.entry.severity in levels
