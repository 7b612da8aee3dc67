"""Requests that no sane client sends, for property tests of every method."""

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
