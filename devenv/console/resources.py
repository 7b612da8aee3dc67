"""Kinds of resources that the console lists by the API of Google that has them.

They are made by programs, gcloud or Terraform; the console shows each with its JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ResourceColumn:
    """A column of a table: the dotted path of its value in a record, and the form of it.

    The form is `text`, `short` (the last part of a name), `mono`, `badge`, `time` or `number`.
    """

    label: str
    path: str
    form: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """A list of an API: where it is, which columns are shown, and what helps if it is empty.

    `path` may name `{project}`, `{id}`, `{number}`, `{region}` and `{location}`; that of a part also `{name}` and
    `{short}` of the record that it belongs to. `key` is the path of a record's name, `label` that
    of the text that people know it by. A kind without a `host` is a view of the control API.
    """

    name: str
    title: str
    host: str
    path: str
    items: str
    columns: tuple[ResourceColumn, ...]
    empty: str
    key: str = "name"
    label: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    parts: tuple["ResourceKind", ...] = ()
    has_series: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePage:
    """A page with some kinds; `place` is its entry in the navigation, `above` the page it is below."""

    path: str
    title: str
    place: str
    lead: str
    kinds: tuple[ResourceKind, ...]
    above: tuple[str, str] | None = None


def value_at(record: Any, path: str) -> Any:
    """Return the value at a dotted path, None if there is none; a list gives those of its items."""
    head, _, rest = path.partition(".")
    if isinstance(record, list):
        if head.isdecimal():
            found = record[int(head)] if int(head) < len(record) else None
            return value_at(found, rest) if rest else found
        return [value_at(one, path) for one in record]
    found = record.get(head) if isinstance(record, Mapping) else None
    return value_at(found, rest) if rest and found is not None else found


def cell(record: Any, column: ResourceColumn) -> str:
    """Return the text of a record in a column, empty if it has none."""
    value = value_at(record, column.path)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(_text(one, column.form) for one in value)
    return _text(value, column.form)


def _text(value: Any, form: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).rpartition("/")[2] if form == "short" else str(value)
