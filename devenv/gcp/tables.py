"""Tables of devenv.toml as dataclasses: pydantic checks them, and each error names key and value.

The annotations of a dataclass are its schema. Values are checked strictly: `"8000"` is not a number
and `true` is not one either. `Like` restricts a text and says what it should look like.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, core_schema

_T = TypeVar("_T")

TABLE = ConfigDict(extra="forbid")
Key: TypeAlias = tuple[str | int, ...]
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}
_DEMANDS = {
    "tuple_type": 'it must be an array: [ "one", "two" ]',
    "int_type": "it must be a whole number, without quotes",
    "bool_type": "it must be true or false, without quotes",
    "string_type": 'it must be a text: "…"',
}
Port = Annotated[int, Field(ge=1, le=65535)]


class ConfigError(Exception):
    """A file of configuration is invalid; the message names key, value and what is allowed."""

    def __init__(self, message: str, *, key: Key = ()) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Like:
    """Restriction of a text to a pattern, with an example for error messages."""

    pattern: re.Pattern[str]
    example: str

    def check(self, value: str) -> str:
        if not self.pattern.fullmatch(value):
            raise ValueError(f"it must look like {self.example}")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


# https://cloud.google.com/resource-manager/docs/creating-managing-projects#before_you_begin. Older
# ids with a domain, `example.com:shop`, are not supported.
ProjectId = Annotated[
    str,
    Like(
        re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        "my-project: 6 to 30 lowercase letters, digits and hyphens, a letter first, no hyphen last",
    ),
]
ProjectNumber = Annotated[str, Like(re.compile(r"[1-9][0-9]{5,18}"), "123456789012, in quotes")]
# A name that the file declares may be shorter than the 6 characters that one made by API needs.
AccountName = Annotated[
    str,
    Like(
        re.compile(r"[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?"),
        "web: 1 to 30 lowercase letters, digits and hyphens, a letter first, no hyphen last",
    ),
]
Region = Annotated[str, Like(re.compile(r"[a-z]{2,20}-[a-z]{2,20}[0-9]{1,2}"), "us-west1")]


def read_table(kind: type[_T], data: Mapping[str, Any], *key: str) -> _T:
    """Return a table as the dataclass `kind`. Raises ConfigError. `key` is the table's own."""
    try:
        return _adapter(kind).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise _first_problem(kind, error.errors()[0], key) from error


def _adapter(kind: type[_T]) -> TypeAdapter[_T]:
    """Return the adapter of a dataclass; making one takes longer than all the rest."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dotted(key: Key) -> str:
    """Return a key as people write it: `gcp.jobs[0].timeout`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def _first_problem(kind: type[Any], problem: ErrorDetails, table: Key) -> ConfigError:
    path = problem["loc"]
    key, parent = (*table, *path), (*table, *path[:-1])
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = ", ".join(sorted(field.name for field in fields(_kind_at(kind, path[:-1]))))
        text = f"{dotted(parent)} has the unknown key {path[-1]!r:.60}; known are {known}."
    elif problem["type"] in ("missing", "missing_argument"):
        example = _example(_kind_at(kind, path[:-1]), str(path[-1]))
        text = f"{dotted(key)} is missing" + (f"; it looks like {example}." if example else ".")
        key = parent
    else:
        text = f"{dotted(key)} is {problem['input']!r:.200}; {_demand(problem)}."
    return ConfigError(text, key=key)


def _demand(problem: ErrorDetails) -> str:
    if problem["type"] in ("dataclass_type", "dict_type"):
        return "it must be a table"
    if problem["type"] in _DEMANDS:
        return _DEMANDS[problem["type"]]
    message = re.sub(r"^Value error, | after validation, not \d+$", "", problem["msg"])
    return re.sub(r"^[A-Z][a-z]+ should", "it must", message)


def _kind_at(kind: type[Any], path: Key) -> Any:
    """Return the dataclass at a path below `kind`."""
    for name in path:
        if isinstance(name, str):
            hint = get_type_hints(kind)[name]
            options = (hint, *get_args(hint))
            kind = next((one for one in options if hasattr(one, "__dataclass_fields__")), kind)
    return kind


def _example(kind: Any, name: str) -> str:
    def within(hint: Any) -> str:
        if isinstance(hint, Like):
            return hint.example
        parts = (*get_args(hint), *getattr(hint, "__metadata__", ()))
        return next((found for part in parts if (found := within(part))), "")

    return within(get_type_hints(kind, include_extras=True)[name])
