"""Tables against columns, keys, references and row rules."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from validibot.engines import Document, EngineError, Result, get_engine, tabular
from validibot.engines.sandbox import run_in_child
from validibot.engines.tabular import check_header, checks, infer_schema, load
from validibot.engines.tabular.config import TabularConfig

pytestmark = pytest.mark.usefixtures("tables_in_process")

READINGS = """id;site;on;kwh;unit;ok
M-1;A;2026-01-01;1,5;kWh;ja
M-2;B;2026-13-01;-1;kWh;nein
M-1;C;1.1.2026;x;MWh;ja
;A;;;;
"""
NOT_A_TEXT = (
    "row 1: could not evaluate row.kind.startsWith('a'): `startsWith` cannot be applied to null_type"
    " and string."
)
COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "string", "pattern": "M-[0-9]", "required": True, "unique": True},
    {"name": "site", "type": "string", "max_length": 1},
    {"name": "on", "type": "date", "minimum": "2026-01-02", "severity": "WARNING"},
    {"name": "kwh", "type": "number", "minimum": 0, "decimal_char": ","},
    {"name": "unit", "enum": ["kWh"]},
    {"name": "ok", "type": "boolean", "true_values": ["ja"], "false_values": ["nein"]},
]


def check(content: str | bytes, name: str = "a.csv", *, files: Any = None, **config: Any) -> Result:
    TabularConfig.model_validate(config)
    body = content.encode() if isinstance(content, str) else content
    document = Document(body, name, "", files or {}, {"c": {"most": 5}})
    return get_engine("tabular").check(document, config)


def messages(result: Result) -> list[str]:
    return [problem.message for problem in result.problems if problem.code != "table.detected"]


def test_findings_name_row_column_and_value() -> None:
    result = check(READINGS, columns=COLUMNS)

    assert messages(result) == [
        "row 4, `id` is missing; it must have a value.",
        "row 3, `id` is 'M-1'; it must be unique, and row 1 has the same.",
        "row 2, `on` is '2026-13-01'; it must be a date such as 2026-01-31.",
        "row 3, `on` is '1.1.2026'; it must be a date such as 2026-01-31.",
        "row 1, `on` is '2026-01-01'; it must be at least 2026-01-02.",
        "row 3, `kwh` is 'x'; it must be a number.",
        "row 2, `kwh` is -1; it must be at least 0.",
        "row 3, `unit` is 'MWh'; it must be one of: kWh.",
    ]
    first = result.problems[1]
    assert (first.severity, first.code, first.path, first.line) == (
        "ERROR",
        "table.required",
        "/4/id",
        5,
    )
    assert result.problems[3].severity == "WARNING"
    assert result.outputs == {
        "format": "csv",
        "row_count": 4,
        "column_count": 6,
        "failed_rule_count": 7,
        "violation_count": 8,
        "encoding": "utf-8",
        "delimiter": ";",
        "sheet": "",
    }


def test_keys_references_and_row_rules() -> None:
    orders = "id,part,min,max,kind\n1,x,1,2,\n1,y,3,2,a\n2,z,1,9,b\n"
    result = check(
        orders,
        files={"parts.csv": b"no;name\nx;1\ny;2\n"},
        columns=[
            {"name": "id"},
            {"name": "part"},
            {"name": "min", "type": "integer"},
            {"name": "max", "type": "integer"},
            {"name": "kind"},
        ],
        primary_key=["id", "kind"],
        foreign_keys=[
            {"columns": ["part"], "file": "Parts", "reference_columns": ["no"]},
            {"columns": ["part"], "file": "parts.csv", "reference_columns": ["nr"]},
        ],
        row_rules=[
            {"expression": "row.min <= row.max", "message": "{row.min} > {{ row.max + 1 }}"},
            {"expression": "row.max <= c.most", "when": "row.kind == 'b'", "severity": "INFO"},
            {"expression": "row.kind.startsWith('a')", "when": "row.min == 1"},
            {"expression": "row.price > 1"},
        ],
    )

    assert messages(result) == [
        "row 1, `kind` is missing; it must have a value.",
        "row 3, `part` is 'z'; it must be a value of `no` of Parts.",
        "parts.csv has no column 'nr', to which `part` refers. Its columns are: no, name.",
        "The row rule row.price > 1 uses the column 'price', which the table does not have.",
        "row 2: 3 > 3",
        "row 3: this must be true: row.max <= c.most (min is 1, max is 9, kind is 'b').",
        NOT_A_TEXT,
        "row 3: this must be true: row.kind.startsWith('a') (min is 1, max is 9, kind is 'b').",
    ]


def test_composite_key_must_be_unique() -> None:
    result = check("a,b\n1,2\n1,3\n1,2\n", primary_key=["a", "b"])

    assert messages(result) == ["row 3, `a, b` is 1, 2; it must be unique, and row 1 has the same."]


def test_all_findings_of_a_rule_are_listed() -> None:
    table = "n\n" + "x\n" * 1000
    rules = [{"expression": "row.n == 'y'"}]
    result = check(table, columns=[{"name": "n", "pattern": "y"}], row_rules=rules)

    assert len(messages(result)) == result.outputs["violation_count"] == 2000


def test_findings_beyond_limit_are_counted_by_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MAX_PROBLEMS", 15)
    (tmp_path / "document").write_text("n\n" + "x\n" * 1000)
    config = {
        "columns": [{"name": "n", "type": "integer"}],
        "row_rules": [{"expression": "row.n == 1"}],
    }
    header = {"folder": str(tmp_path), "filename": "a.csv", "config": config, "references": {}}

    *_, done = found = list(check_header(header | {"names": {}}, b""))

    texts = [line["message"] for line in found if "table.more" in str(line.get("code"))]
    assert texts == [
        "`n` breaks the rule type in 1,000 rows; the first 15 are listed.",
        "`row.n == 1` breaks the rule row in 1,000 rows; the first 10 are listed.",
    ]
    assert done == {"done": done["done"] | {"violation_count": 2000}}


def test_missing_and_extra_columns_are_found() -> None:
    columns = [{"name": "price"}, {"name": "id"}]
    result = check("id,prize,x\n1,2,3\n", columns=columns)

    assert messages(result) == [
        "The table has no column 'price'; did you mean 'prize'? Its columns are: id, prize, x.",
        "The column 'prize' is not in the schema.",
        "The column 'x' is not in the schema.",
    ]
    assert messages(check("id\n1\n", columns=[{"name": "id"}], extra_columns="error")) == []
    assert len(messages(check("id,x\n1,\n", columns=[{"name": "id"}], extra_columns="ignore"))) == 0


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ({"type": "integer"}, ["1", "-5", "+7", "9" * 30], ["1.0", "1e3", "x"]),
        ({"type": "number"}, ["1", "-.5", "1e3"], ['"1,5"', "NaN", "x"]),
        ({"type": "number", "group_char": "'"}, ["1'000.5"], ['"1.000,5"']),
        ({"type": "boolean"}, ["true", "0"], ["yes"]),
        ({"type": "date"}, ["2024-02-29"], ["2026-02-29", "2026-2-1", "1.1.2026"]),
        ({"type": "date", "format": "%d.%m.%Y"}, ["31.01.2026"], ["31.02.2026", "2026-01-01"]),
        ({"type": "time"}, ["12:30", "12:30:59.5"], ["25:00", "noon"]),
        ({"type": "datetime"}, ["2026-01-31T12:00:00Z", "2026-01-31T12:00"], ["2026-01-31"]),
        ({"type": "year"}, ["2026"], ["26"]),
        ({"type": "yearmonth"}, ["2026-12"], ["2026-13"]),
        ({"type": "duration"}, ["P1DT2H"], ["1h"]),
        ({"type": "object"}, ["{}"], ["[]", "{"]),
        ({"type": "array"}, ["[1]"], ["{}"]),
        ({"type": "geopoint"}, ['"8.5, 47.4"'], ["8.5"]),
        ({"type": "string", "format": "email"}, ["a@b.ch"], ["a@b"]),
        ({"type": "string", "format": "uri"}, ["https://b.ch/x"], ["b.ch"]),
        ({"type": "string", "min_length": 2, "max_length": 3}, ["ab", "é€é"], ["a", "abcd"]),
        ({"type": "integer", "enum": [1, 2.0]}, ["1", "2", "02"], ["3"]),
        ({"type": "number", "maximum": "0.5"}, ["0.5"], ["0.51"]),
        ({"type": "date", "maximum": "2026-01-31"}, ["2026-01-31"], ["2026-02-01"]),
        ({"type": "any", "pattern": "[A-Z]+"}, ["AB"], ["Ab"]),
    ],
)
def test_types_and_constraints(column: dict[str, Any], good: list[str], bad: list[str]) -> None:
    table = "\n".join(["x", *good, *bad]) + "\n"
    result = check(table, delimiter=",", columns=[{"name": "x", **column}])

    found = {problem.path for problem in result.problems if problem.severity == "ERROR"}
    assert found == {f"/{row}/x" for row in range(len(good) + 1, len(good) + len(bad) + 1)}


def test_settings_without_header_and_with_missing_values() -> None:
    result = check(
        "1,NA\n2,-\n",
        header=False,
        missing_values=["NA"],
        columns=[{"name": "a"}, {"name": "b", "type": "integer", "required": True}],
    )

    assert messages(result) == [
        "row 1, `b` is missing; it must have a value.",
        "row 2, `b` is '-'; it must be a whole number.",
    ]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"columns": [{"name": "x", "pattern": "(?=a)"}]}, "no look-around"),
        ({"columns": [{"name": "x", "minimum": 1}]}, "only numbers and dates have one"),
        ({"columns": [{"name": "x", "type": "number", "minimum": "a"}]}, "must be a number"),
        ({"columns": [{"name": "x", "type": "date", "format": "%Q"}]}, "no pattern of strptime"),
        ({"columns": [{"name": "x", "type": "date", "format": "dd.mm"}]}, "no pattern of strptime"),
        ({"columns": [{"name": "x", "type": "money"}]}, "'any', 'string'"),
        ({"encoding": "utf-9"}, "'utf-9' is no encoding; for example utf-8"),
        ({"encoding": "idna"}, "'idna' is no encoding"),
        ({"delimiter": '"'}, "cannot stand between cells"),
        ({"delimiter": "\n"}, "cannot stand between cells"),
        ({"delimiter": ",,"}, "at most 1 character"),
        ({"row_rules": [{"expression": "rows.a > 1"}]}, "did you mean `row`"),
        ({"row_rules": [{"expression": "row.a = 1"}]}, "`==` compares two values"),
        ({"row_rules": [{"expression": "1 + 1"}]}, "it must give BOOL"),
        ({"row_rules": [{"expression": "true", "message": "{{ row. }}"}]}, "Syntax error"),
        (
            {"foreign_keys": [{"columns": ["a"], "reference_columns": ["b", "c"]}]},
            "must have the same number",
        ),
        ({"schema": {"x": 1}}, "no `fields`"),
        ({"schema": "{"}, "not JSON"),
        ({"schema": {"fields": [{"type": "string"}]}}, "expected structure: 'name'"),
        ({"schema": {"fields": [{"name": "a", "type": "money"}]}}, "'any', 'string'"),
        ({"schema": {"resources": []}}, "describes no table"),
    ],
)
def test_invalid_settings_are_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TabularConfig.model_validate(config)
    with pytest.raises(EngineError):
        get_engine("tabular").check(Document(b"a\n1\n", "a.csv", ""), config)


def test_missing_reference_file_is_a_finding() -> None:
    keys = [{"columns": ["a"], "file": "parts", "reference_columns": ["b"]}]

    (message,) = messages(check("a\n1\n", files={"x.csv": b""}, foreign_keys=keys))

    assert message.startswith("A foreign key refers to the file 'parts', which was not sent.")
    assert message.endswith("The further files are: x.csv.")


def test_table_with_many_columns_is_checked_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database needs memory for each column, however few rows there are."""
    monkeypatch.setattr(tabular, "run_in_child", run_in_child)
    names = [f"c{number}" for number in range(700)]
    columns = [{"name": name, "type": "number", "minimum": 2} for name in names]
    result = check(f"{','.join(names)}\n{','.join(['1'] * 700)}\n", columns=columns)

    assert result.outputs["violation_count"] == 700
    assert len(result.problems) == 701


def test_table_that_needs_too_much_memory_gives_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MEMORY", 10)
    monkeypatch.setitem(load._SETTINGS, "max_temp_directory_size", "1MB")
    (tmp_path / "document").write_text("a\n" + "".join(f"{n:050}\n" for n in range(200_000)))
    header: dict[str, Any] = {
        "folder": str(tmp_path),
        "filename": "a.csv",
        "references": {},
        "names": {},
    }
    header["config"] = {"primary_key": ["a"]}

    assert [line for line in check_header(header, b"") if "done" in line or "failed" in line] == []


def test_inferred_schema_fits_the_sample() -> None:
    table = "id;zip;kwh;on;at;ok;unit;note\n" + "".join(
        f"{n};0{n % 7}1;{n}.5;2026-01-{n % 28 + 1:02};31.12.2026;{'true' if n % 2 else 'false'};"
        f"{'kWh' if n % 3 else 'MWh'};{'x' * (n % 5)}\n"
        for n in range(1, 31)
    )

    settings = infer_schema(table.encode(), "a.csv")

    assert settings["primary_key"] == ["id"]
    assert settings["delimiter"] == ";"
    types = {each["name"]: each["type"] for each in settings["columns"]}
    assert types == {
        "id": "integer",
        "zip": "string",
        "kwh": "number",
        "on": "date",
        "at": "date",
        "ok": "boolean",
        "unit": "string",
        "note": "string",
    }
    assert settings["columns"][4]["format"] == "%d.%m.%Y"
    assert settings["columns"][6]["enum"] == ["MWh", "kWh"]
    assert "required" not in settings["columns"][7]
    assert messages(check(table, **settings)) == []
