"""Schemas of tables that other tools write: Frictionless Table Schema and CSVW metadata.

Sources: Table Schema and Data Package of specs.frictionlessdata.io (version 1) and datapackage.org
(version 2); "Metadata Vocabulary for Tabular Data" of the W3C, 17 December 2015. Both become the
settings of a Tabular step. Properties that say nothing about the values are ignored.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

_CSVW = "http://www.w3.org/ns/csvw"
_TYPES = {"list": "any", "boolean": "boolean"}
# The types of CSVW that ours have by another name; their own ranges follow.
_CSVW_TYPES = {
    "any": "any", "anyAtomicType": "any", "json": "object", "gYear": "year",
    "gYearMonth": "yearmonth", "dateTime": "datetime", "datetime": "datetime",
    "dateTimeStamp": "datetime", "dayTimeDuration": "duration", "yearMonthDuration": "duration",
    "date": "date", "time": "time", "boolean": "boolean", "duration": "duration",
    "decimal": "number", "double": "number", "float": "number", "number": "number",
}  # fmt: skip
_RANGES: Mapping[str, tuple[int | None, int | None]] = {
    "integer": (None, None),
    "long": (-(2**63), 2**63 - 1),
    "int": (-(2**31), 2**31 - 1),
    "short": (-(2**15), 2**15 - 1),
    "byte": (-128, 127),
    "nonNegativeInteger": (0, None),
    "positiveInteger": (1, None),
    "nonPositiveInteger": (None, 0),
    "negativeInteger": (None, -1),
    "unsignedLong": (0, 2**64 - 1),
    "unsignedInt": (0, 2**32 - 1),
    "unsignedShort": (0, 2**16 - 1),
    "unsignedByte": (0, 255),
}
# Parts of date formats (Unicode TR 35), in the notation of strptime.
_DATE_PARTS = {
    "yyyy": "%Y", "MM": "%m", "M": "%m", "dd": "%d", "d": "%d", "HH": "%H", "mm": "%M", "ss": "%S",
}  # fmt: skip
_DATE_PART = re.compile("|".join(_DATE_PARTS))


def read_schema(schema: Mapping[str, Any], *, filename: str) -> dict[str, Any]:
    """Return a schema as settings of a Tabular step. Raises ValueError for a wrong structure."""
    try:
        if _is_csvw(schema):
            return _read_csvw(schema, filename)
        return _read_frictionless(schema, filename)
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"The schema does not have the expected structure: {error}") from None


def _is_csvw(schema: Mapping[str, Any]) -> bool:
    context = schema.get("@context")
    contexts = context if isinstance(context, list) else [context]
    return _CSVW in contexts or "tableSchema" in schema or "tables" in schema


def _one_of(tables: list[Mapping[str, Any]], key: str, filename: str) -> Mapping[str, Any]:
    """Return the table that describes a file, or the first one."""
    if not tables:
        raise ValueError("The schema describes no table")
    named = (each for each in tables if PurePath(_text(each.get(key))).name == filename)
    return next(named, tables[0])


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    return value if isinstance(value, str) else ""


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _read_frictionless(schema: Mapping[str, Any], filename: str) -> dict[str, Any]:
    resource: Mapping[str, Any] = {}
    if "resources" in schema:
        resource = _one_of(schema["resources"], "path", filename)
        schema = resource.get("schema") or {}
    elif isinstance(schema.get("schema"), Mapping):
        resource, schema = schema, schema["schema"]
    if not isinstance(schema, Mapping) or "fields" not in schema:
        raise ValueError(
            "The schema has no `fields` (Frictionless Table Schema) and no `tableSchema` (CSVW)"
        )
    dialect = resource.get("dialect") or {}
    return {
        "columns": [_frictionless_column(each) for each in schema["fields"]],
        "primary_key": _names(schema.get("primaryKey")),
        "foreign_keys": [
            {
                "columns": _names(each["fields"]),
                "file": each["reference"].get("resource", ""),
                "reference_columns": _names(each["reference"]["fields"]),
            }
            for each in schema.get("foreignKeys", [])
        ],
        "missing_values": [_missing(each) for each in schema.get("missingValues", []) if each],
        "delimiter": dialect.get("delimiter", ""),
        "header": dialect.get("header", True),
        "encoding": resource.get("encoding", ""),
    }


def _missing(value: Any) -> str:
    return str(value["value"]) if isinstance(value, Mapping) else str(value)


def _frictionless_column(field: Mapping[str, Any]) -> dict[str, Any]:
    limits = field.get("constraints", {})
    kind = field.get("type", "any")
    column = {
        "name": field["name"],
        "type": _TYPES.get(kind, kind),
        "format": field.get("format", "default"),
        "title": _text(field.get("title"))[:255],
        "description": _text(field.get("description"))[:2000],
        "required": limits.get("required", False),
        "unique": limits.get("unique", False),
        "minimum": limits.get("minimum"),
        "maximum": limits.get("maximum"),
        "min_length": limits.get("minLength"),
        "max_length": limits.get("maxLength"),
        "pattern": limits.get("pattern"),
        "enum": limits.get("enum"),
        "decimal_char": field.get("decimalChar", "."),
        "group_char": field.get("groupChar", ""),
    }
    for ours, theirs in (("true_values", "trueValues"), ("false_values", "falseValues")):
        if theirs in field:
            column[ours] = field[theirs]
    return column


def _read_csvw(metadata: Mapping[str, Any], filename: str) -> dict[str, Any]:
    table = metadata
    if "tables" in metadata:
        table = _one_of(metadata["tables"], "url", filename)
    schema = table.get("tableSchema") or metadata.get("tableSchema") or {}
    dialect = table.get("dialect") or metadata.get("dialect") or {}
    columns = [each for each in schema.get("columns", []) if not each.get("virtual")]
    nulls = {text for each in columns for text in _names(each.get("null", "")) if text}
    return {
        "columns": [
            _csvw_column(each, number, schema) for number, each in enumerate(columns, start=1)
        ],
        "primary_key": [_header_of(columns, each) for each in _names(schema.get("primaryKey"))],
        "foreign_keys": [
            {
                "columns": [_header_of(columns, name) for name in _names(each["columnReference"])],
                "file": PurePath(_text(each["reference"].get("resource"))).name,
                "reference_columns": _names(each["reference"]["columnReference"]),
            }
            for each in schema.get("foreignKeys", [])
        ],
        "missing_values": sorted(nulls),
        "delimiter": dialect.get("delimiter", ""),
        "header": dialect.get("header", True),
        "encoding": dialect.get("encoding", ""),
    }


def _header_of(columns: list[Mapping[str, Any]], name: str) -> str:
    """Return the title of a column, as the header has it, by its name."""
    for number, column in enumerate(columns, start=1):
        if column.get("name") == name:
            return _header(column, number)
    return name


def _header(column: Mapping[str, Any], number: int) -> str:
    titles = column.get("titles")
    if isinstance(titles, Mapping):  # by language
        titles = next(iter(titles.values()), "")
    return _text(titles) or column.get("name") or f"_col.{number}"


def _csvw_column(
    column: Mapping[str, Any], number: int, schema: Mapping[str, Any]
) -> dict[str, Any]:
    datatype = column.get("datatype", schema.get("datatype", "string"))
    if isinstance(datatype, str):
        datatype = {"base": datatype}
    return {
        "name": _header(column, number),
        "description": _text(column.get("dc:description"))[:2000],
        "required": column.get("required", False),
        **dict(_csvw_type(datatype)),
    }


def _csvw_type(datatype: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a column for a datatype."""
    base = datatype.get("base", "string")
    low, high = _RANGES.get(base, (None, None))
    kind = "integer" if base in _RANGES else _CSVW_TYPES.get(base, "string")
    yield "type", kind
    yield "minimum", datatype.get("minimum", datatype.get("minInclusive", low))
    yield "maximum", datatype.get("maximum", datatype.get("maxInclusive", high))
    length = datatype.get("length")
    yield "min_length", datatype.get("minLength", length)
    yield "max_length", datatype.get("maxLength", length)
    form = datatype.get("format")
    if isinstance(form, Mapping):
        yield "decimal_char", form.get("decimalChar", ".")
        yield "group_char", form.get("groupChar", "")
    elif isinstance(form, str):
        yield from _csvw_format(kind, form)
    elif base == "anyURI":
        yield "format", "uri"


def _csvw_format(kind: str, form: str) -> Iterator[tuple[str, Any]]:
    if kind == "boolean":
        true, _, false = form.partition("|")
        yield "true_values", [true]
        yield "false_values", [false]
    elif kind in ("date", "datetime", "time"):
        yield "format", _DATE_PART.sub(lambda part: _DATE_PARTS[part[0]], form)
    elif kind == "string":
        yield "pattern", form
