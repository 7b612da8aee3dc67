"""Errors of CEL expressions in the user's words."""

import re

import pytest

from validibot.engines import EngineError
from validibot.engines.cel import ValueScope, compiled

SCOPE = {"a": 1, "s": "x", "l": [1, 2], "n": None, "d": {"k": 1}, "f": 1.5}

SAVED = {
    "payload.a = 1": "`=` is not CEL (line 1, column 11): `==` compares two values.",
    "\n payload.a === 1": "`===` is not CEL (line 2, column 12): `==` compares",
    "payload.a <> 1": "`<>` is not CEL (line 1, column 11): `!=` means not equal.",
    "payload.a > 1 & payload.b": "`&` is not CEL (line 1, column 15): `&&` means and.",
    "payload.a and true": "`and` is not CEL (line 1, column 11): `&&` means and.",
    "payload.a OR true": "`OR` is not CEL (line 1, column 11): `||` means or.",
    "not payload.a": "`not` is not CEL (line 1, column 1): `!` means not",
    "payload.s contains 'x'": "`contains` is not CEL (line 1, column 11): it is a function",
    "if (true) 1": "`if` is not CEL (line 1, column 1): a choice is `condition ? a : b`.",
    "len(payload.a) > 1": "Unknown name 'len' (line 1, column 1): write `size(x)`.",
    "payload.s.length() > 1": "Unknown name 'length' (line 1, column 11): write `size(x)`.",
    "payload.a == None": "Unknown name 'None' (line 1, column 14): write `null`.",
    "payloads.a > 1": "Unknown name 'payloads' (line 1, column 1): did you mean `payload`? Expression: ",
    "Payload.a > 1": "Unknown name 'Payload' (line 1, column 1): did you mean `payload`?",
    "area > 1": "Unknown name 'area' (line 1, column 1): the names are payload, output, s, steps,"
    " c, i, submission, as in `payload.area`.",
    "row.a > 1": "Unknown name 'row' (line 1, column 1): it is known only in row expressions",
    "payload.s.startswith('x')": "Unknown function 'startswith' (line 1, column 11): did you mean"
    " `startsWith`?",
    "sets.foo([1])": "Unknown function 'sets.foo' (line 1, column 1).",
    "between(1, 2)": "Unknown function 'between' (line 1, column 1).",
    "sum(payload.l) > 1": "CEL has no sum; compute it before the document is sent (line 1,",
    "payload.l.exists(x > 1)": "Unknown name 'x' (line 1, column 18)",
    "payload.l.transformMap(i, v, v) == {}": "The function transformMap is not available (line 1,"
    " column 11): use `transformList`.",
    "'a' + 1 == 2": "`+` cannot be applied to string and int; convert one of them: `string(x)`,"
    " `double(x)` (line 1, column 5).",
    "payload.a in [1] &&": "Syntax error: the expression is not complete (line 1, column 20).",
    "payload['a'": "Syntax error: the expression is not complete (line 1, column 12): ']' is",
    '"abc': "Syntax error: a quotation mark is not closed (line 1, column 1).",
    "payload.é": "Syntax error: unexpected character 'é' (line 1, column 9): write such names",
    "payload.l[*].a": "Syntax error: unexpected '*' (line 1, column 11).",
}

EVALUATED = {
    "payload.x": 'there is no key "x" (line 1, column 9); test for it with `has(payload.x)`',
    "payload['x y']": 'there is no key "x y" (line 1, column 10); test for it with'
    " `'x y' in payload`",
    "payload.x == payload.x": 'there is no key "x"; test for it with `has(…)`',
    "payload.a.b": "a value before `.` is not an object",
    "payload.l[5]": "item 5 does not exist: the list has 2 items, the first is 0",
    "payload.l['a']": "a list has no names; its items have numbers: `x[0]`",
    "payload.a + payload.s": "`+` cannot be applied to int and string; convert one of them:"
    " `string(x)`, `double(x)`",
    "payload.a + payload.f": "`+` cannot be applied to int and double; convert one of them:"
    " `double(x)`",
    "payload.a.startsWith('x')": "`startsWith` cannot be applied to int and string; convert one of"
    " them: `string(x)`, `double(x)`",
    "size(payload.a)": "`size` cannot be applied to int",
    "payload.a && true": "a condition is not true or false; compare the value, as in `x == 1`",
    "payload.a / 0": "a number is divided by zero",
    "payload.s.matches('(')": "a pattern is not a valid regular expression (RE2)",
    "payload.?x.value()": "an optional value is empty; give a default: `orValue(…)`",
    "timestamp(payload.s)": "a text is not a time such as '2026-01-31T12:00:00Z'",
    "int(payload.s)": "cannot convert string to int",
}


@pytest.mark.parametrize(("expression", "reason"), SAVED.items(), ids=SAVED)
def test_invalid_expression_has_hint_and_position(expression: str, reason: str) -> None:
    with pytest.raises(EngineError, match=f"^{re.escape(reason)}"):
        compiled(expression)


@pytest.mark.parametrize(("expression", "reason"), EVALUATED.items(), ids=EVALUATED)
def test_failed_evaluation_has_hint(expression: str, reason: str) -> None:
    assert ValueScope({"payload": SCOPE}).evaluate(expression).error == reason
