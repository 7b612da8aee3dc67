"""Outcomes of rules about documents and outputs."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from validibot.engines import Document, DocumentProblem, EngineError, get_engine
from validibot.engines.assertions import MAX_RULES, Rule, evaluate
from validibot.engines.cel import compiled
from validibot.engines.scope import NAMES, ROW, build_scope

SCOPE: Mapping[str, Any] = {
    "payload": {"name": "x", "area": 12.5, "zones": [{"n": 1}, {"n": 2}], "big": 2**70},
    "output": {"eui": Decimal("12.5"), "at": dt.date(2026, 1, 2), "nan": float("nan")},
    "steps": {"1": {"k": 3}},
    "c": {"limit": 20},
}


def problem_of(
    expression: str, scope: Mapping[str, Any] = SCOPE, **fields: Any
) -> DocumentProblem | None:
    (outcome,) = evaluate([Rule(expression=expression, **fields)], scope)
    return outcome.problem


@pytest.mark.parametrize(
    "expression",
    [
        "payload.area < 13.0 && payload.area == 12.5",
        "payload.zones.all(z, z.n > 0)",
        "payload.big > 1e21",
        "output.eui <= 12.5",
        "output.at == '2026-01-02'",
        "!(output.nan > 0.0) && math.isNaN(output.nan)",
        "steps['1'].k == 3 && steps['1'].k < c.limit",
        "payload.?missing.orValue(1) == 1",
        "!has(payload.missing)",
        "payload.name.upperAscii() == 'X'",
        "payload.zones.map(z, z.n + 1) == [2, 3]",
        "payload.zones.exists(i, z, i == 1 && z.n == 2)",
        "cel.bind(a, payload.area, a * a > 100.0)",
        "base64.encode(b'hi') == 'aGk=' && base64.decode('aGk=') == b'hi'",
        "[3, 1, 1].distinct().sort() == [1, 3] && lists.range(2) == [0, 1]",
        "sets.contains([1, 2], [1]) && sets.equivalent([1], [1, 1])",
        "regex.extract('abc', 'b(.)').value() == 'c'",
        "regex.replace('abc', 'b', 'x') == 'axc'",
    ],
)
def test_true_rule_gives_no_problem(expression: str) -> None:
    assert problem_of(expression) is None


def test_false_rule_gives_problem() -> None:
    assert problem_of("payload.area > 13.0", severity="WARNING", path="/area") == DocumentProblem(
        "This must be true: payload.area > 13.0", "WARNING", "assertion.failed", "/area"
    )


def test_outcomes_keep_order_and_keys_of_rules() -> None:
    rules = [Rule(expression="true", key=7), Rule(expression="false", key=5)]

    assert [(o.key, o.problem is None) for o in evaluate(rules, SCOPE)] == [(7, True), (5, False)]


def test_rule_with_false_condition_does_not_apply() -> None:
    assert problem_of("false", when="payload.area > 100.0") is None
    assert problem_of("false", when="payload.area > 1.0") is not None


@pytest.mark.parametrize("fields", [{}, {"when": "payload.missing"}])
def test_rule_that_cannot_be_evaluated_gives_problem(fields: dict[str, Any]) -> None:
    problem = problem_of("payload.missing == 1", **fields)

    assert problem
    assert problem.code == "assertion.error"
    assert problem.message == (
        f"Could not evaluate {fields.get('when') or 'payload.missing == 1'}: there is no key "
        '"missing" (line 1, column 9); test for it with `has(payload.missing)`.'
    )


def test_rule_without_boolean_value_gives_problem() -> None:
    problem = problem_of("payload.area")

    assert problem
    assert problem.message.endswith("it gives DOUBLE, not true or false.")


def test_message_shows_values_of_expressions() -> None:
    message = "{payload.area} m² of {{ size(payload.zones) }} {payload.zones[0]}; {payload.no} {no}"
    problem = problem_of("false", message=message)

    assert problem
    assert problem.message == '12.5 m² of 2 {"n": 1}; ? {no}'


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1 / 3, "0.3333"), (2e20, "2e+20"), (0.0, "0"), (7.0, "7")],
)
def test_value_is_formatted_for_readers(value: Any, text: str) -> None:
    problem = problem_of("false", {"payload": value}, message="{payload}")

    assert problem
    assert problem.message == text


def test_success_message_gives_info_problem() -> None:
    assert problem_of("true", success_message="below {c.limit}") == DocumentProblem(
        "below 20", "INFO", "assertion.passed"
    )


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"expression": "foo > 1"}, "Unknown name 'foo'"),
        ({"expression": "payload.("}, "Syntax error"),
        ({"expression": ""}, "Syntax error"),
        ({"expression": "1 + 1"}, "gives INT"),
        ({"expression": "true", "when": "'a'"}, "gives STRING"),
        ({"expression": "true", "message": "{{ nope }}"}, "Unknown name"),
        ({"expression": "true", "message": "{payload}" * 21}, "more than 20 values"),
        ({"expression": "true" + " " * 2000}, "more than 2000 characters"),
        ({"expression": "'\0' == ''"}, "NUL"),
        ({"expression": "(" * 200 + "true" + ")" * 200}, "nested too deep"),
    ],
)
def test_invalid_rule_raises_engine_error(rule: dict[str, str], reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        evaluate([Rule(**rule)], SCOPE)


def test_too_many_rules_raise_engine_error() -> None:
    with pytest.raises(EngineError, match=r"more than 500 assertions"):
        evaluate([Rule(expression="true")] * (MAX_RULES + 1), SCOPE)


def test_too_many_iterations_give_problem() -> None:
    ten = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    expression = "true"
    for name in "abcdef":
        expression = f"{ten}.all({name}, {expression})"
    problem = problem_of(expression)

    assert problem
    assert "more items than is allowed" in problem.message


def test_too_deep_scope_gives_problem() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    problem = problem_of("true", {"payload": deep})

    assert problem
    assert "deeper than" in problem.message


def test_assertions_engine_reads_document() -> None:
    check = get_engine("assertions").check

    assert check(Document(b"{}", "a.json", ""), {}).problems == ()
    assert check(Document(b"{", "a.json", ""), {}).problems[0].code == "json.invalid"


def test_assertions_engine_without_document_accepts_any_file() -> None:
    document = Document(b"Version,25.2;", "a.idf", "")

    assert get_engine("assertions").check(document, {"document": False}).problems == ()


def test_scope_gives_each_name_and_its_short_form_a_value() -> None:
    scope = build_scope(
        payload={"a": 1},
        outputs={"x": 2},
        earlier={"1": {"x": 0, "y": 3}, "2": {"y": 4}},
        constants=[{"name": "limit", "value": 5}],
        submission={"filename": "a.json"},
        inputs={"region": "EU"},
    )
    rule = (
        "p == payload && p.a == 1 && o == output && o.x == 2 && s.x == 2 && s.y == 4"
        " && steps['1'].y == 3 && c.limit == 5 && i.region == 'EU'"
        " && submission.filename == 'a.json'"
    )

    assert problem_of(rule, scope) is None
    for each in NAMES:
        compiled(each.example)


def test_message_shows_short_names_and_leaves_plain_braces() -> None:
    problem = problem_of("false", message="{p.area} of {c.limit}, {payload.name}, {i} {s} {x.y}")

    assert problem
    assert problem.message == "12.5 of 20, x, {i} {s} {x.y}"


def test_examples_of_page_are_true_and_names_are_listed() -> None:
    page = (Path(__file__).parents[4] / "docs/assertions.md").read_text()
    scope = json.loads(page.split("```json")[1].split("```")[0])
    examples = re.findall(r"^\| `(.+?)` \|", page.split("## Examples")[1], flags=re.MULTILINE)

    assert len(examples) > 10
    for expression in examples:
        assert problem_of(expression, scope) is None, expression
    for name in (*NAMES, ROW):
        assert f"| {name.description} | `{name.example}` |" in page
