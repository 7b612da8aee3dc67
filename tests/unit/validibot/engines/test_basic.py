"""Basic rules on documents of all kinds: paths, conditions, quantifiers, places and bounds."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from validibot.engines import Document, DocumentProblem, Result, basic, get_engine
from validibot.engines.basic.paths import PathInvalid, parse_path, select
from validibot.engines.basic.rules import BasicConfig

ORDER = {
    "total": 10,
    "lines": [
        {"kind": "part", "price": 4, "tags": ["a"], "max": 5},
        {"kind": "work", "price": 6, "max": 5},
        {"kind": "gift"},
    ],
    "unit price": {"a.b": 1},
}
TABLE = "id;price;start;end\n1;2,5;;\n2;-1;2026-01-02;2026-01-01\n"
INVOICE = """<Invoice xmlns="urn:i" xmlns:cbc="urn:c">
 <cbc:ID scheme="x">7</cbc:ID>
 <Line><Amount currency="EUR">10</Amount></Line>
 <Line>
  <Amount currency="CHF">-5.5</Amount></Line>
 <Total>5</Total>
</Invoice>"""


def check(content: Any, name: str, *rules: dict[str, Any]) -> Result:
    body = content if isinstance(content, str) else json.dumps(content, indent=1)
    return get_engine("basic").check(Document(body.encode(), name, ""), {"rules": list(rules)})


def messages(content: Any, name: str, *rules: dict[str, Any]) -> list[str]:
    return [problem.message for problem in check(content, name, *rules).problems]


def rule(path: str, operator: str, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"path": path, "operator": operator, "value": value, **more}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$", [ORDER]),
        ("total", [10]),
        ("$.total", [10]),
        ("lines[*].price", [4, 6, None]),
        ("lines[0].tags[0]", ["a"]),
        ("lines[-1].kind", ["gift"]),
        ("lines.*.kind", ["part", "work", "gift"]),
        ("['unit price']['a.b']", [1]),
        ('$["unit price"].*', [1]),
        ("..price", [4, 6]),
        ("lines..kind", ["part", "work", "gift"]),
        ("missing.deeper[3]", [None]),
        ("lines[9].x", [None]),
        ("total.x", [None]),
    ],
)
def test_path_selects_values_in_document_order(path: str, values: list[Any]) -> None:
    assert [match.value for match in select(ORDER, parse_path(path))] == values


@pytest.mark.parametrize(
    "path",
    ["", " ", ".a", "a..", "a[", "a[x]", "a[?(@.b)]", "a[0:2]", "a b", "..a..b..c", "a" * 501],
)
def test_unreadable_path_is_refused(path: str) -> None:
    with pytest.raises(PathInvalid, match="path"):
        parse_path(path)


@given(st.text(max_size=30), st.recursive(st.none(), lambda each: st.lists(each, max_size=3)))
def test_any_path_is_read_or_refused(path: str, document: Any) -> None:
    try:
        steps = parse_path(path)
    except PathInvalid:
        return
    for match in select(document, steps):
        assert len(match.marks) == len(steps)


def test_finding_of_table_names_row_and_column() -> None:
    (problem,) = check(
        TABLE, "a.csv", rule("price", "min", 0, when=rule("id", "equals", 2))
    ).problems

    assert problem == DocumentProblem(
        "row 2, `price` is -1; it must be at least 0.", "ERROR", "basic.min", "/2/price", 3
    )


def test_finding_of_json_has_line_and_column() -> None:
    (problem,) = check(ORDER, "a.json", rule("lines[*].price", "max", 5)).problems

    assert problem.message == "`lines[1].price` is 6; it must be at most 5."
    assert (problem.path, problem.line, problem.column) == ("/lines/1/price", 14, 13)


def test_finding_of_xml_has_line() -> None:
    (problem,) = check(INVOICE, "a.xml", rule("Line.Amount", "min", 0)).problems

    assert problem.message == "`Line[1].Amount` is -5.5; it must be at least 0."
    assert problem.line == 5


def test_finding_of_yaml_has_line_and_column() -> None:
    (problem,) = check("a:\n  - x: 1\n  - x: 5\n", "a.yml", rule("a[*].x", "max", 3)).problems

    assert (problem.path, problem.line, problem.column) == ("/a/1/x", 3, 8)


def test_paths_of_xml_ignore_prefixes_and_know_attributes() -> None:
    rules = [
        rule("cbc:ID", "equals", 7),
        rule("ID.@scheme", "equals", "x"),
        rule("Total", "pattern", "[0-9]"),
        rule("Line[0].Amount", "pattern", "[0-9]+"),
        rule("Line.Amount", "sum", 4.5),
        rule("Line", "count", 2),
        rule("Line[1].Amount.@currency", "equals", "CHF"),
        rule("Line.Amount.@currency", "required"),
    ]

    assert messages(INVOICE, "a.xml", *rules) == []
    assert messages(INVOICE, "a.xml", rule("Line.Amount", "sum", "Total")) == [
        "the sum of `Line.Amount` is 4.5; it must be `Total`, which is 5."
    ]


def test_other_field_is_that_of_the_same_item() -> None:
    assert messages(ORDER, "a.json", rule("lines[*].price", "max_field", "lines[*].max")) == [
        "`lines[1].price` is 6; it must be at most `lines[*].max`, which is 5."
    ]
    assert messages(TABLE, "a.csv", rule("start", "before_field", "end")) == [
        "row 2, `start` is '2026-01-02'; it must be before `end`, which is '2026-01-01'."
    ]


def test_condition_is_that_of_the_same_item_or_the_whole_document() -> None:
    required = rule("lines[*].price", "required")

    assert len(messages(ORDER, "a.json", required)) == 1
    for when in (
        rule("lines[*].kind", "not_equals", "gift"),
        rule("total", "greater_than", 10),
        rule("discount", "required"),
        rule("total", "absent"),
    ):
        assert messages(ORDER, "a.json", required | {"when": when}) == []


def test_required_value_is_missed_in_each_item() -> None:
    assert messages(
        ORDER, "a.json", rule("lines[*].tags", "required"), rule("a.b", "required")
    ) == [
        "`lines[1].tags` is missing; it must be there and not be empty.",
        "`lines[2].tags` is missing; it must be there and not be empty.",
        "`a.b` is missing; it must be there and not be empty.",
    ]


def test_sum_is_compared_with_a_field_of_each_group() -> None:
    orders = {
        "o": [{"t": 3, "l": [{"p": 1}, {"p": 2}]}, {"t": 5, "l": [{"p": "x"}]}, {"l": [{"p": 1}]}]
    }

    assert messages(orders, "a.json", rule("o[*].l[*].p", "sum", "o[*].t")) == [
        "`o[1].l[0].p` is 'x', not a number; it must be a number to be added up."
    ]


def test_any_and_none_of_the_values() -> None:
    tags = {"t": ["a", "b"]}

    assert messages(tags, "a.json", rule("t[*]", "equals", "b", match="any")) == []
    assert messages(tags, "a.json", rule("t[*]", "equals", "c", match="any")) == [
        "`t[*]` has 2 values; it must have one that must be 'c'."
    ]
    assert messages(tags, "a.json", rule("u[*]", "equals", "c", match="any")) == [
        "`u[*]` has no value; it must have one that must be 'c'."
    ]
    assert messages(tags, "a.json", rule("t[*]", "equals", "b", match="none")) == [
        "`t[1]` is 'b'; it must not be 'b'."
    ]


def test_message_of_rule_shows_place_value_and_requirement() -> None:
    own = rule(
        "total", "max", 5, message="{place}: {value}, not {x}. Must {expected}", severity="INFO"
    )
    (problem,) = check(ORDER, "a.json", own).problems

    assert (problem.severity, problem.message) == (
        "INFO",
        "`total`: 10, not {x}. Must be at most 5",
    )


def test_all_findings_of_a_rule_are_listed() -> None:
    result = check([{"x": -1}] * 1000, "a.json", rule("[*].x", "min", 0))

    assert len(result.problems) == 1_000


def test_findings_beyond_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "MAX_PROBLEMS", 20)
    result = check([{"x": -1}] * 1000, "a.json", rule("[*].x", "min", 0), rule("$", "type", "list"))

    assert len(result.problems) == 21
    assert result.problems[-1].message == (
        "`[*].x` breaks the rule `min` 1,000 times; the first 20 are listed."
    )
    assert result.outputs == {"rule_count": 2, "failed_rule_count": 1}


def test_large_document_is_checked_in_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    here = check(ORDER, "a.json", rule("lines[*].price", "max", 5))
    monkeypatch.setattr(basic, "MAX_WORK_HERE", 0)

    assert check(ORDER, "a.json", rule("lines[*].price", "max", 5)) == here


def test_yaml_with_aliases_is_checked_in_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "run_in_child", lambda *_: [])

    result = check("a: &a [1]\nb: [*a, *a]", "a.yaml", rule("b[*][*]", "min", 0))

    assert result.problems[0].code == "document.too_expensive"


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.json", "{", "json.invalid", "This is not JSON"),
        ("a.xml", "<a>", "xml.invalid", "This is not XML"),
        ("a.yml", "a: b: c", "yaml.invalid", "This is not YAML"),
        ("a.yml", "a: 1\n---\nb: 1", "yaml.several", "2 documents"),
        ("a.csv", "a,b\n1,2\n3\n", "table.ragged", "Row 2 has 1 cells; the header has 2"),
        ("a.csv", "a,a\n1,2\n", "table.invalid", "more than one column 'a'"),
        ("a.csv", "a,b\n1,\0", "table.nul", "NUL"),
        ("a.csv", "a\n" + "x" * 200_000, "table.invalid", "more than 131072 characters"),
        ("a.csv", "," * 3000, "table.invalid", "more than 2000 columns"),
        ("a.csv", 'a,b\n1,"x', "table.invalid", "unexpected end of data"),
        ("a.csv", "", "document.empty", "empty"),
        ("a.bin", "hello", "document.format", "neither JSON, YAML, XML, CSV nor TSV"),
    ],
)
def test_unreadable_document_is_one_finding(
    name: str, content: str, code: str, message: str
) -> None:
    (problem,) = check(content, name, rule("a", "required")).problems

    assert problem.code == code
    assert message in problem.message


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"path": "a b"}, "cannot be read at column 2"),
        ({"operator": "like"}, "'required', 'absent'"),
        ({"severity": "FATAL"}, "'ERROR', 'WARNING' or 'INFO'"),
        ({"when": rule("x", "unique")}, "cannot be used in a condition"),
        ({"when": {"path": "["}}, "cannot be read"),
        ({"match": "any"}, "so it must be 'each'"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_invalid_rule_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        BasicConfig.model_validate({"rules": [rule("x", "required") | changed]})
