"""Every operator of Basic rules, with values that satisfy it and values that do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from validibot.engines import Document, get_engine
from validibot.engines.basic.operators import OPERATORS
from validibot.engines.basic.rules import BasicConfig

UUID = "0b9d3b0c-6f0e-4d0e-8e5e-2f6f3d8b1a11"

# operator: value of the rule, values that pass, values that fail with the ends of their messages
CASES: dict[str, tuple[Any, list[Any], dict[Any, str]]] = {
    "not_empty": (None, ["a", 0, [1]], {"": "it must not be empty."}),
    "type": ("integer", [1, 2.0, -3], {1.5: "it must be of type integer.", "1": "integer."}),
    "equals": ("EUR", ["EUR"], {"eur": "it must be 'EUR'.", 1: "is 1; it must be 'EUR'."}),
    "not_equals": (1, [2, "1", True], {1: "it must not be 1."}),
    "one_of": (["a", 1, None], ["a", 1.0, None], {"b": "one of: 'a', 1, null.", True: "null."}),
    "not_in": (["a", 1], ["b", True], {"a": "it must not be one of: 'a', 1.", 1: "'a', 1."}),
    "min": (0, [0, 0.1, 10**30], {-1: "is -1; it must be at least 0.", "x": "not a number; it"}),
    "max": (0.3, [0.3, -5], {0.31: "is 0.31; it must be at most 0.3.", True: "is true, which is"}),
    "greater_than": (0, [0.001], {0: "it must be greater than 0."}),
    "less_than": (0, [-1], {0: "it must be less than 0."}),
    "range": ([0, 10], [0, 10, 5.5], {10.01: "it must be between 0 and 10.", -1: "and 10."}),
    "multiple_of": (0.1, [0.3, 0, -2], {0.35: "be a multiple of 0.1.", 1e300: "small enough"}),
    "decimals": (2, [1, 1.25, 100], {1.255: "it must have at most 2 decimals."}),
    "length": (
        2,
        ["ab", [1, 2]],
        {"abc": "it must have the length 2.", 12: "not a text or a list"},
    ),
    "min_length": (1, ["a"], {"": "it must have at least the length 1."}),
    "max_length": (3, ["", "é€𝄞"], {"abcd": "it must have at most the length 3."}),
    "pattern": ("[A-Z]{2}", ["AB"], {"ABC": "match the pattern [A-Z]{2}.", "AB\n": "}."}),
    "not_pattern": ("test.*", ["a test"], {"test1": "it must not match the pattern test.*."}),
    "contains": ("b", ["abc", ["a", "b"]], {"acd": "it must contain 'b'.", 5: "not a text"}),
    "not_contains": ("b", ["acd", ["ab"]], {"abc": "it must not contain 'b'."}),
    "starts_with": ("CH", ["CH1"], {"ch1": "it must start with 'CH'."}),
    "ends_with": (".csv", ["a.csv"], {"a.CSV": "it must end with '.csv'."}),
    "is_email": (None, ["a.b+c@x.org"], {"a@b": "be an email address.", "a b@x.org": "address."}),
    "is_url": (
        None,
        ["https://x.org/a?b=1#c", "http://localhost:80/é"],
        {"x.org": "be a web address", "javascript:alert(1)": "be a", "http://": "", "http://[": ""},
    ),
    "is_uuid": (None, [UUID, UUID.upper()], {UUID[:-1]: "it must be a UUID."}),
    "is_date": (None, ["2024-02-29"], {"2026-02-29": "be a date", "31.1.2026": "2026-01-31."}),
    "is_datetime": (None, ["2026-01-31T12:00:00Z"], {"2026-01-31": "be a time such as"}),
    "is_ip": (None, ["10.0.0.1", "::1"], {"10.0.0.256": "it must be an IP address."}),
    "before": ("2026-01-01", ["2025-12-31T23:59:59Z"], {"2026-01-01": "be before 2026-01-01."}),
    "after": ("2026-01-01T00:00:00+01:00", ["2026-01-01"], {"2025-12-31": "after 2026-01-01T00"}),
    "on_or_before": ("2026-01-01", ["2026-01-01"], {"2026-01-02": "be on or before 2026-01-01."}),
    "on_or_after": ("2026-01-01", ["2026-01-01"], {"x": "not a date such as", "20260101": "date"}),
    "only_keys": (["a", "b"], [], {}),
}
PLACES: dict[str, tuple[Any, Any, Any, str]] = {
    "required": (None, {"x": 0}, {"x": " "}, "`x` is ' '; it must be there and not be empty."),
    "absent": (None, {"y": 1}, {"x": None}, "`x` is null; it must not be there."),
    "only_keys": (["a"], {"x": {"a": 1}}, {"x": {"b": 1}}, "it must have only the members 'a'."),
    "unique": (None, {"x": 1}, None, ""),
    "equals_field": ("y", {"x": 1, "y": 1.0}, {"x": 1, "y": 2}, "equal `y`, which is 2."),
    "not_equals_field": ("y", {"x": 1, "y": 2}, {"x": 1, "y": 1}, "differ from `y`, which is 1."),
    "min_field": ("y", {"x": 2, "y": 2}, {"x": 1, "y": 2}, "be at least `y`, which is 2."),
    "max_field": ("y", {"x": 2, "y": 2}, {"x": 3, "y": 2}, "be at most `y`, which is 2."),
    "greater_than_field": (
        "y",
        {"x": 3, "y": 2},
        {"x": 2, "y": 2},
        "greater than `y`, which is 2.",
    ),
    "less_than_field": ("y", {"x": 1, "y": 2}, {"x": 2, "y": 2}, "less than `y`, which is 2."),
    "before_field": (
        "y",
        {"x": "2026-01-01", "y": "2026-01-02"},
        {"x": "2026-01-02", "y": "2026-01-02"},
        "be before `y`, which is '2026-01-02'.",
    ),
    "after_field": (
        "y",
        {"x": "2026-01-03", "y": "2026-01-02"},
        {"x": "2026-01-02", "y": "2026-01-02"},
        "be after `y`, which is '2026-01-02'.",
    ),
}
LISTS: dict[str, tuple[Any, list[Any], list[Any], str]] = {
    "unique": (
        None,
        [1, "1", True],
        ["a", "b", "a"],
        "`x[2]` is 'a'; it must be unique, and `x[0]`",
    ),
    "sorted": ("ascending", [1, 2, 2, 10], [1, 10, 2], "`x[2]` is 2; it must be sorted ascending"),
    "count": (2, [1, 2], [1], "`x[*]` is there 1 times; it must be 2 times."),
    "min_count": (1, [1], [], "`x[*]` is there 0 times; it must be at least 1 times."),
    "max_count": (1, [1], [1, 2], "`x[*]` is there 2 times; it must be at most 1 times."),
    "sum": (0.3, [0.1, 0.2], [0.1, 0.1], "the sum of `x[*]` is 0.2; it must be 0.3."),
    "min_sum": (1, [1], [0.5], "the sum of `x[*]` is 0.5; it must be at least 1."),
    "max_sum": (1, [1], [1, 1], "the sum of `x[*]` is 2; it must be at most 1."),
}


def messages(document: Any, **rule: Any) -> list[str]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    rules = {"rules": [{key: value for key, value in rule.items() if value is not None}]}
    BasicConfig.model_validate(rules)
    result = get_engine("basic").check(Document(body, "a.json", ""), rules)
    return [problem.message for problem in result.problems]


def test_every_operator_has_cases() -> None:
    assert OPERATORS.keys() == {*CASES, *PLACES, *LISTS}
    assert len(OPERATORS) >= 25


@pytest.mark.parametrize("name", CASES)
def test_operator_accepts_and_refuses_values(name: str) -> None:
    expected, good, bad = CASES[name]

    for value in good:
        assert messages({"x": value}, path="x", operator=name, value=expected) == []
    for value, end in bad.items():
        (message,) = messages({"x": value}, path="x", operator=name, value=expected)
        assert message.startswith("`x` is ")
        assert end in message


@pytest.mark.parametrize("name", PLACES)
def test_operator_about_places_and_fields(name: str) -> None:
    expected, good, bad, end = PLACES[name]

    assert messages(good, path="x", operator=name, value=expected) == []
    if bad is not None:
        (message,) = messages(bad, path="x", operator=name, value=expected)
        assert message.endswith(end)


@pytest.mark.parametrize("name", LISTS)
def test_operator_about_all_values(name: str) -> None:
    expected, good, bad, text = LISTS[name]

    assert messages({"x": good}, path="x[*]", operator=name, value=expected) == []
    (message,) = messages({"x": bad}, path="x[*]", operator=name, value=expected)
    assert text in message


def test_values_of_tables_and_xml_are_read_as_numbers() -> None:
    engine = get_engine("basic")
    rules = [
        {"path": "x", "operator": "equals", "value": 1.5},
        {"path": "x", "operator": "type", "value": "number"},
        {"path": "y", "operator": "equals", "value": True},
        {"path": "y", "operator": "not_equals", "value": None},
        {"path": "y", "operator": "type", "value": "boolean"},
    ]

    for name, content in (
        ("a.csv", b"x,y\n1.50,TRUE\n"),
        ("a.xml", b"<a><x>1.50</x><y>TRUE</y></a>"),
    ):
        assert engine.check(Document(content, name, ""), {"rules": rules}).problems == ()


@pytest.mark.parametrize(
    ("operator", "value", "reason"),
    [
        ("required", 1, "this operator has none"),
        ("equals", [1], "it must be a number, text, truth value or null"),
        ("min", "0", "it must be a number; for example 0"),
        ("min", float("nan"), "it must be a number"),
        ("range", [2, 1], "the smaller one first"),
        ("length", -1, "a whole number that is not negative"),
        ("pattern", "(", "it is no regular expression"),
        ("pattern", "(?=a)", "without look-around"),
        ("one_of", [], "a list with 1 to 10000 items"),
        ("before", "tomorrow", "it must be a date"),
        ("type", "string", "it must be one of: text, number"),
        ("sorted", "up", "it must be ascending or descending"),
        ("equals_field", 1, "it must be the path of a field"),
        ("sum", "a b", "cannot be read at column 2"),
        ("starts_with", "", "it must be a text"),
    ],
)
def test_value_that_does_not_fit_operator_is_refused(
    operator: str, value: Any, reason: str
) -> None:
    rule = {"path": "x", "operator": operator, "value": value}

    with pytest.raises(ValidationError, match=reason):
        BasicConfig.model_validate({"rules": [rule]})


def test_page_lists_every_operator_and_its_rules_are_valid() -> None:
    page = (Path(__file__).parents[4] / "docs/basic.md").read_text()

    for operator in OPERATORS.values():
        example = "" if operator.example is None else f"`{json.dumps(operator.example)}`"
        kind = operator.kind.value.replace("_", " ")
        assert f"| `{operator.name}` | {operator.title} | {kind} | {example} |" in page
    BasicConfig.model_validate_json(page.split("```json")[1].split("```")[0])
