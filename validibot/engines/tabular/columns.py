"""Types and constraints of columns as conditions of SQL.

A column is text; `raw` is its cell and `value` the cell read as its type. Each condition is true of
the cells that break a rule. The rules of types follow Frictionless Table Schema: dates as in ISO
8601 unless a column has a pattern of strptime.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from validibot.engines.tabular.config import ColumnType, TableColumn
from validibot.engines.tabular.load import quoted

_INTEGER = r"[+-]?\d+"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_ZONE = r"(Z|[+-]\d\d:?\d\d)?"
_FORMATS = {
    "email": (r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", "an email address"),
    "uri": (r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+", "an address (URI)"),
    "uuid": (r"(?i)[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", "a UUID"),
}
_PATTERNS = {
    ColumnType.YEAR: (r"-?\d{4}", "a year such as 2026"),
    ColumnType.YEARMONTH: (r"\d{4}-(0[1-9]|1[0-2])", "a month such as 2026-01"),
    ColumnType.DURATION: (
        r"-?P(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?",
        "a duration such as P1DT2H",
    ),
    ColumnType.GEOPOINT: (
        r"-?\d+(\.\d+)?\s*,\s*-?\d+(\.\d+)?",
        "a longitude and latitude such as 8.5, 47.4",
    ),
}
# Pattern of the text, type of SQL, and name in messages.
_TIMES = {
    ColumnType.DATE: (r"\d{4}-\d\d-\d\d", "DATE", "a date such as 2026-01-31"),
    ColumnType.TIME: (r"\d\d:\d\d(:\d\d(\.\d+)?)?", "TIME", "a time such as 12:30:00"),
    ColumnType.DATETIME: (
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?{_ZONE}",
        "TIMESTAMPTZ",
        "a date with time such as 2026-01-31T12:00:00Z",
    ),
}
_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.YEAR)


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """A rule of a column: `wrong` is the condition of SQL, `must` completes "it must …"."""

    code: str
    wrong: str
    must: str
    about_missing: bool = False


def typed(column: TableColumn, raw: str) -> str:
    """Return the SQL for a cell read as the type of its column; null if it cannot be read."""
    kind = column.type
    if kind in _NUMERIC:
        pattern = _NUMBER if kind is ColumnType.NUMBER else _INTEGER
        text = _plain_number(column, raw)
        return f"CASE WHEN {_full_match(text, pattern)} THEN TRY_CAST({text} AS DOUBLE) END"
    if kind is ColumnType.BOOLEAN:
        true, false = _list(column.true_values), _list(column.false_values)
        return f"CASE WHEN {raw} IN ({true}) THEN true WHEN {raw} IN ({false}) THEN false END"
    if kind in _TIMES:
        return _moment(column, raw)
    return raw


def _moment(column: TableColumn, raw: str) -> str:
    pattern, kind, _ = _TIMES[column.type]
    if column.format == "any":
        return f"TRY_CAST({raw} AS {kind})"
    if column.format != "default":
        return f"TRY_CAST(try_strptime({raw}, {quoted(column.format)}) AS {kind})"
    return f"CASE WHEN {_full_match(raw, pattern)} THEN TRY_CAST({raw} AS {kind}) END"


def _plain_number(column: TableColumn, raw: str) -> str:
    """Return the SQL for a number without separators of thousands, with a decimal point."""
    if column.group_char:
        raw = f"replace({raw}, {quoted(column.group_char)}, '')"
    if column.decimal_char != ".":
        raw = f"replace({raw}, {quoted(column.decimal_char)}, '.')"
    return raw


def _full_match(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {quoted(pattern)})"


def _list(values: list[str]) -> str:
    return ", ".join(map(quoted, values)) or "NULL"


def rules_of(column: TableColumn, *, is_key: bool) -> Iterator[ColumnRule]:
    """Yield the rules of a column; each is about `raw` and `value`. Raises EngineError."""
    if column.required or is_key:
        yield ColumnRule("required", "raw IS NULL", "have a value", about_missing=True)
    yield from _type_rules(column)
    for code, limit, sign, words in (
        ("minimum", column.minimum, "<", "be at least"),
        ("maximum", column.maximum, ">", "be at most"),
    ):
        if limit is not None:
            bound = typed(_plain(column), quoted(_shown(limit)))
            yield ColumnRule(code, f"value {sign} ({bound})", f"{words} {_shown(limit)}")
    for code, length, sign, words in (
        ("minLength", column.min_length, "<", "have at least"),
        ("maxLength", column.max_length, ">", "have at most"),
    ):
        if length is not None:
            yield ColumnRule(code, f"length(raw) {sign} {length}", f"{words} {length} characters")
    if column.pattern:
        wrong = f"NOT {_full_match('raw', column.pattern)}"
        yield ColumnRule("pattern", wrong, f"match the pattern {column.pattern}")
    if column.enum:
        yield _enum_rule(column, column.enum)


def _plain(column: TableColumn) -> TableColumn:
    """Return a column whose numbers and dates are written as in schemas."""
    own = column.format if column.type in _TIMES and column.format == "any" else "default"
    return column.model_copy(update={"decimal_char": ".", "group_char": "", "format": own})


def _shown(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _type_rules(column: TableColumn) -> Iterator[ColumnRule]:
    kind = column.type
    if kind in _TIMES:
        form = f" written as {column.format}"
        name = _TIMES[kind][2] if column.format in ("default", "any") else f"a {kind.value}{form}"
        yield ColumnRule("type", "value IS NULL", f"be {name}")
    elif kind in (ColumnType.INTEGER, ColumnType.NUMBER):
        name = "a whole number" if kind is ColumnType.INTEGER else "a number"
        yield ColumnRule("type", "value IS NULL", f"be {name}")
    elif kind is ColumnType.BOOLEAN:
        allowed = ", ".join([*column.true_values, *column.false_values])
        yield ColumnRule("type", "value IS NULL", f"be one of: {allowed}")
    elif kind in _PATTERNS:
        pattern, name = _PATTERNS[kind]
        yield ColumnRule("type", f"NOT {_full_match('raw', pattern)}", f"be {name}")
    elif kind in (ColumnType.OBJECT, ColumnType.ARRAY, ColumnType.GEOJSON):
        wanted = "ARRAY" if kind is ColumnType.ARRAY else "OBJECT"
        name = f"a JSON {wanted.lower()}"
        wrong = f"CASE WHEN json_valid(raw) THEN json_type(raw) <> '{wanted}' ELSE true END"
        yield ColumnRule("type", wrong, f"be {name}")
    elif kind is ColumnType.STRING and column.format in _FORMATS:
        pattern, name = _FORMATS[column.format]
        yield ColumnRule("format", f"NOT {_full_match('raw', pattern)}", f"be {name}")


def _enum_rule(column: TableColumn, allowed: list[str | float | bool]) -> ColumnRule:
    texts = [_shown(each) for each in allowed]
    if column.type in _NUMERIC or column.type is ColumnType.BOOLEAN:
        values = ", ".join(f"({typed(_plain(column), quoted(text))})" for text in texts)
        wrong = f"value NOT IN ({values})"
    else:
        wrong = f"raw NOT IN ({_list(texts)})"
    more = ", …" if len(texts) > 10 else ""
    return ColumnRule("enum", wrong, f"be one of: {', '.join(texts[:10])}{more}")
