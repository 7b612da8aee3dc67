"""Settings of a Tabular step: columns, keys and rows, or a schema that exists already.

The names follow Frictionless Table Schema. `schema` takes such a schema, a data package, or CSVW
metadata as it is; the other settings are added to it.
"""

import datetime as dt
import json
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from validibot.core.echo import echo
from validibot.engines.assertions import message_expressions
from validibot.engines.base import EngineConfig, EngineError
from validibot.engines.cel import ValueScope, check_condition, compiled
from validibot.engines.tabular.accepted import read_schema

MAX_FIELDS = 2000
MAX_ROW_RULES = 50
MAX_SCHEMA_CHARACTERS = 1024 * 1024


class ColumnType(StrEnum):
    """Types of columns: those of Frictionless Table Schema."""

    ANY = "any"
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    YEAR = "year"
    YEARMONTH = "yearmonth"
    DURATION = "duration"
    OBJECT = "object"
    ARRAY = "array"
    GEOPOINT = "geopoint"
    GEOJSON = "geojson"


_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.YEAR)
_WITH_PATTERN = (ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME)
_LIMITED = (*_NUMERIC, *_WITH_PATTERN, ColumnType.YEARMONTH)


class TabularSeverity(StrEnum):
    """Severity of the findings of a column or row rule; only an ERROR fails the step."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class ExtraColumns(StrEnum):
    """Treatment of columns that the schema does not have."""

    ERROR = "error"
    WARNING = "warning"
    IGNORE = "ignore"


class TabularPart(BaseModel):
    """A part of the settings: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TableColumn(TabularPart):
    """A column: its type, and what its values must be. An empty cell is no value."""

    name: str = Field(title="Name", description="Name in the header.", min_length=1, max_length=255)
    type: ColumnType = Field(default=ColumnType.ANY, title="Type")
    format: str = Field(
        default="default",
        title="Format",
        description="Of texts: email, uri or uuid. Of dates and times: a pattern such as %d.%m.%Y.",
        max_length=100,
        examples=["%d.%m.%Y"],
    )
    title: str = Field(default="", title="Title", max_length=255)
    description: str = Field(default="", title="Description", max_length=2000)
    required: bool = Field(
        default=False, title="Required", description="Every row must have a value."
    )
    unique: bool = Field(default=False, title="Unique", description="No value may appear twice.")
    minimum: float | str | None = Field(
        default=None, title="Minimum", description="Smallest number or earliest date.", examples=[0]
    )
    maximum: float | str | None = Field(
        default=None, title="Maximum", description="Greatest number or latest date.", examples=[100]
    )
    min_length: int | None = Field(default=None, title="Minimum length", ge=0)
    max_length: int | None = Field(default=None, title="Maximum length", ge=0)
    pattern: str | None = Field(
        default=None,
        title="Pattern",
        description="Regular expression that the whole value must match; no look-around.",
        max_length=1000,
        examples=["[A-Z]{2}-[0-9]{4}"],
    )
    enum: list[str | float | bool] | None = Field(
        default=None,
        title="Allowed values",
        min_length=1,
        max_length=10_000,
        examples=[["EUR", "CHF"]],
    )
    true_values: list[str] = Field(default=["true", "True", "TRUE", "1"], title="Values for true")
    false_values: list[str] = Field(
        default=["false", "False", "FALSE", "0"], title="Values for false"
    )
    decimal_char: str = Field(default=".", title="Decimal character", min_length=1, max_length=1)
    group_char: str = Field(default="", title="Thousands separator", max_length=1)
    severity: TabularSeverity = Field(default=TabularSeverity.ERROR, title="Severity")

    @model_validator(mode="after")
    def format_must_be_known(self) -> Self:
        if self.type not in _WITH_PATTERN or self.format in ("default", "any"):
            return self
        try:
            dt.datetime.strptime("", self.format)  # noqa: DTZ007 # only the pattern is read
        except ValueError as error:
            if "directive" in str(error) or "stray" in str(error) or "%" not in self.format:
                raise ValueError(
                    f"The format {echo(self.format)} is no pattern of strptime such as %d.%m.%Y"
                ) from None
        return self

    @field_validator("pattern")
    @classmethod
    def pattern_must_compile(cls, pattern: str | None) -> str | None:
        # RE2, which the checks use too.
        if pattern and ValueScope({"payload": pattern}).evaluate("''.matches(payload)").error:
            raise ValueError(f"{echo(pattern)} is not a regular expression of RE2 (no look-around)")
        return pattern


class TableReference(TabularPart):
    """A foreign key: the values of `columns` must be among those of another file."""

    columns: list[str] = Field(title="Columns", min_length=1, max_length=20)
    file: str = Field(
        default="",
        title="File",
        description="Name of a further file of the submission or of the file of the step, with or"
        " without extension; empty for the table itself.",
        max_length=255,
    )
    reference_columns: list[str] = Field(
        title="Columns of the other file", min_length=1, max_length=20
    )

    @model_validator(mode="after")
    def sides_must_have_one_length(self) -> Self:
        if len(self.columns) != len(self.reference_columns):
            raise ValueError(
                f"`columns` has {len(self.columns)} names, `reference_columns`"
                f" {len(self.reference_columns)}; they must have the same number"
            )
        return self


# The editor completes names of row expressions in these settings.
_ROW_NAMES: dict[str, Any] = {"x-names": "row"}


class RowRule(TabularPart):
    """An expression in CEL that must be true of each row, known as `row`."""

    expression: str = Field(
        title="Expression",
        description="CEL; `row.price` is a value: a number, truth value or text by the type of its"
        " column, or null.",
        max_length=2000,
        examples=["row.minimum <= row.maximum"],
        json_schema_extra=_ROW_NAMES,
    )
    when: str = Field(
        default="",
        title="Only when",
        description="The rule applies where this is true.",
        max_length=2000,
        json_schema_extra=_ROW_NAMES,
    )
    message: str = Field(default="", title="Message", max_length=1000, json_schema_extra=_ROW_NAMES)
    severity: TabularSeverity = Field(default=TabularSeverity.ERROR, title="Severity")

    @model_validator(mode="after")
    def expressions_must_compile(self) -> Self:
        try:
            for expression in filter(None, (self.expression, self.when)):
                check_condition(expression, of_rows=True)
            for shown in message_expressions(self.message):
                compiled(shown, of_rows=True)
        except EngineError as error:
            raise ValueError(str(error)) from None
        return self


class TabularConfig(EngineConfig):
    """Settings of the engine."""

    table_schema: dict[str, Any] | str | None = Field(
        default=None,
        alias="schema",
        title="Schema",
        description="A Frictionless Table Schema, data resource or data package, or CSVW metadata,"
        " as an object or text. Columns below with the same name replace its columns.",
        examples=[{"fields": [{"name": "price", "type": "number"}]}],
    )
    columns: list[TableColumn] = Field(default=[], title="Columns", max_length=MAX_FIELDS)
    primary_key: list[str] = Field(
        default=[],
        title="Primary key",
        description="Columns that together identify a row: they have values, and no two rows have the"
        " same.",
        max_length=20,
        examples=[["id"]],
    )
    foreign_keys: list[TableReference] = Field(default=[], title="Foreign keys", max_length=20)
    row_rules: list[RowRule] = Field(default=[], title="Row rules", max_length=MAX_ROW_RULES)
    missing_values: list[str] = Field(
        default=[],
        title="Missing values",
        description="Texts that mean no value, besides the empty one.",
        max_length=50,
        examples=[["NA", "-"]],
    )
    extra_columns: ExtraColumns = Field(
        default=ExtraColumns.WARNING,
        title="Other columns",
        description="Treatment of columns that the schema does not have, if it has any.",
    )
    header: bool = Field(
        default=True, title="Header", description="Whether the first row has the names."
    )
    encoding: str = Field(
        default="",
        title="Encoding",
        description="Encoding of a text file; detected if it is empty.",
        max_length=40,
        examples=["utf-8", "cp1252"],
    )
    delimiter: str = Field(
        default="",
        title="Delimiter",
        description="One character between cells of a text file; detected if it is empty.",
        max_length=1,
        examples=[";"],
    )
    sheet: str = Field(
        default="",
        title="Sheet",
        description="Sheet of a workbook; the first if empty.",
        max_length=100,
    )

    @field_validator("encoding")
    @classmethod
    def encoding_must_be_known(cls, encoding: str) -> str:
        try:
            # Some names, such as idna, are no encodings of whole files.
            b"a".decode(encoding or "utf-8", "replace")
        except (LookupError, UnicodeError):
            raise ValueError(
                f"{echo(encoding)} is no encoding; for example utf-8 or cp1252"
            ) from None
        return encoding

    @field_validator("delimiter")
    @classmethod
    def delimiter_must_be_possible(cls, delimiter: str) -> str:
        if delimiter in ('"', "\r", "\n", "\0"):
            raise ValueError(
                f"{echo(delimiter)} cannot stand between cells; for example ; or a tab"
            )
        return delimiter

    @model_validator(mode="after")
    def schema_must_be_readable(self) -> Self:
        for column in self.columns:
            check_limits(column)
        if self.table_schema is not None:
            read_config(self.model_dump(by_alias=True, mode="json"), filename="")
        return self


def check_limits(column: TableColumn) -> None:
    """Raise ValueError if a limit of a column is of another kind than its type."""
    for name in ("minimum", "maximum"):
        limit = getattr(column, name)
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is None:
            continue
        if column.type not in _LIMITED:
            raise ValueError(
                f"The column {echo(column.name)} has the {name} {echo(limit)} and the type"
                f" {column.type.value}; only numbers and dates have one."
            )
        if column.type in _NUMERIC and not is_number and not _is_number(str(limit)):
            raise ValueError(
                f"The {name} of the column {echo(column.name)} is {echo(limit)}; it must be a number."
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_config(config: dict[str, Any], *, filename: str) -> TabularConfig:
    """Return the settings with the parts of their schema. Raises ValueError.

    Of a schema with several tables the one for `filename` counts, or else the first.
    """
    given = config.get("schema")
    own = TabularConfig.model_validate({**config, "schema": None})
    if given is None:
        return own
    if isinstance(given, str):
        if len(given) > MAX_SCHEMA_CHARACTERS:
            raise ValueError(f"The schema has more than {MAX_SCHEMA_CHARACTERS} characters")
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ValueError(f"The schema is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ValueError("The schema must be an object")  # noqa: TRY004 # pydantic reports it
    read = TabularConfig.model_validate(read_schema(given, filename=filename))
    replaced = {column.name for column in own.columns}
    columns = [column for column in read.columns if column.name not in replaced] + own.columns
    changes = {name: getattr(own, name) for name in own.model_fields_set - {"table_schema"}}
    changes |= {
        "columns": columns,
        "foreign_keys": [*read.foreign_keys, *own.foreign_keys],
        "primary_key": own.primary_key or read.primary_key,
        "missing_values": own.missing_values or read.missing_values,
        "encoding": own.encoding or read.encoding,
        "delimiter": own.delimiter or read.delimiter,
        "header": own.header and read.header,
    }
    return read.model_copy(update=changes)
