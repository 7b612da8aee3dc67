"""Requests that no sane client sends, for property tests of every method."""

import random
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

NAMES = (
    "",
    "projects/local-project/locations/us-west1",
    "projects/local-project/locations/us-west1/queues/runs",
    "projects/local-project/locations/us-west1/queues/runs/tasks/t1",
    "projects/local-project/locations/us-west1/queues/missing",
    "projects/local-project/locations/us-west1/queues/missing/tasks/t1",
    "projects/local-project/locations/us-west1/jobs/tick",
    "projects/123456789012/locations/us-west1/queues/new",
    "projects/other/locations/us-west1/queues/runs",
    "projects/local-project/locations/us-west1/queues/runs/tasks/",
    "http://worker/run",
    "tasks@p",
    "* * * * *",
    "every 5 minutes",
)
_TEXT = st.sampled_from(NAMES) | st.text(max_size=30)
_INT32 = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 20)
_INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2**31)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=30),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_ENUM: st.integers(-2, 12),
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
}


@st.composite
def messages(draw: st.DrawFn, kind: type[Any], *, depth: int = 4) -> Any:
    """Draw a message with any of its fields set to anything that its wire format allows."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if depth and draw(st.booleans()):
            _fill(draw, message, field, depth)
    return message


def _fill(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    target = getattr(message, field.name)
    nested = field.message_type
    if nested and nested.GetOptions().map_entry:
        if nested.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING:
            target.update(draw(st.dictionaries(_TEXT, _TEXT, max_size=3)))
    elif field.is_repeated:
        if field.type == FieldDescriptor.TYPE_STRING:
            target.extend(draw(st.lists(_TEXT, max_size=3)))
    elif nested:
        target.CopyFrom(draw(messages(type(target), depth=depth - 1)))
        target.SetInParent()
    else:
        setattr(message, field.name, draw(_SCALARS[field.type]))


TEXTS = (
    *("", "-", "/", "\0", "é", "x" * 5000, "a=b", "9Gi", "-1", "one", "latest", "{}", "EUR"),
    *("((((", "a AND b OR NOT c", "severity>=ERROR", "resource.name.startsWith('a')"),
    *("10.0.0.0/8", "2027-01-01T00:00:00Z", "* * * * *", "http://x/", "https://[::1", "3600s"),
    *("roles/owner", "user:a@b.c", "serviceAccount:app@test-project.iam.gserviceaccount.com"),
    *("projects/-/locations/-", "folders/1", "billingAccounts/012345-567890-ABCDEF"),
)
_NUMBERS = {
    FieldDescriptor.TYPE_BOOL: (False, True),
    FieldDescriptor.TYPE_BYTES: (b"", b"\xff", b"{}"),
    FieldDescriptor.TYPE_DOUBLE: (0.0, 0.5, -1.0, 1e300, float("inf"), float("nan")),
    FieldDescriptor.TYPE_FLOAT: (0.0, 0.5, -1.0, 3e38, float("inf"), float("nan")),
    FieldDescriptor.TYPE_INT64: (0, 1, -1, 60, 2**40, 2**63 - 1, -(2**63)),
    FieldDescriptor.TYPE_UINT64: (0, 1, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 1, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: (0, 1, -1, 60, 2**31 - 1, -(2**31)),
    FieldDescriptor.TYPE_UINT32: (0, 1, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: (0, 1, 2**32 - 1),
    FieldDescriptor.TYPE_ENUM: (0, 1, 2, 3, 99),
}
_DEEPEST = 6


class RandomFields:
    """Sets fields of messages to values by chance, much faster than `messages` draws them."""

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        """Take `names` for texts as often as odd ones."""
        self._chance = random.Random(seed)  # noqa: S311 - reproducible
        self._texts = (TEXTS, names)

    def fill(self, message: Any, share: float, depth: int = 0) -> None:
        """Set about this share of the fields of a message."""
        for field in message.DESCRIPTOR.fields:
            if self._chance.random() > share or depth > _DEEPEST:
                continue
            value, nested = getattr(message, field.name), field.message_type
            if nested and nested.GetOptions().map_entry:
                self._put(value, nested.fields_by_name, share, depth)
            elif nested:
                value = value.add() if field.is_repeated else value
                self.fill(value, share, depth + 1)
                value.SetInParent()
            elif field.is_repeated:
                value.append(self._scalar(field))
            else:
                setattr(message, field.name, self._scalar(field))

    def _put(self, mapping: Any, fields: Any, share: float, depth: int) -> None:
        key = self._scalar(fields["key"])
        if fields["value"].message_type:
            self.fill(mapping[key], share, depth + 1)
        else:
            mapping[key] = self._scalar(fields["value"])

    def _scalar(self, field: FieldDescriptor) -> Any:
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._chance.choice(self._chance.choice(self._texts))
        return self._chance.choice(_NUMBERS.get(field.type, (0, 1)))
