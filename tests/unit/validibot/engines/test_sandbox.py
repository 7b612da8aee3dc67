"""Child processes for expensive work, and the choice of rules that need one."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from validibot.engines import EngineBusy, assertions, sandbox
from validibot.engines.assertions import Rule, evaluate, evaluate_in_child
from validibot.engines.cel import LIGHT_SCOPE, is_light

DOUBLING = "['aaaaaaaa']" + ".map(x, x + x)" * 27


@pytest.mark.parametrize(
    "expression",
    [
        "payload.a > 1 + 2",
        "payload.all(z, z.area > 0 && !(z.n in ['a', 'b']))",
        "size(payload.name.lowerAscii()) > 3",
        "cel.bind(a, payload.area, a > 1.0 && a < 2.0)",
        "payload.exists(z, z.?a.orValue(1) == 1 && z.s.matches('a+'))",
    ],
)
def test_expression_that_inspects_values_is_light(expression: str) -> None:
    assert is_light([expression], scope_size=1000)


@pytest.mark.parametrize(
    "expression",
    [
        DOUBLING,
        "payload.s.replace('x', payload.s) == ''",
        "payload.all(z, z.s + z.s != '')",
        "[payload].map(x, [x, x]).size() > 1",
        "payload.all(x, x.lowerAscii() == x)",
        "'%s'.format([payload]) == ''",
        "payload.join('') == ''",
        r"payload.all(x, r'\' + x != '')",
        "[[payload, payload]].all(a, [[a, a]].all(b, b == b))",
        "cel.bind(a, [payload, payload], cel.bind(b, [a, a], b == b))",
        "payload.all(x, {'a': x} == {'a': x})",
        "lists.range(100000000).size() > 0",
        "payload.all(x, // '\n x + x // '\n != '')",
    ],
)
def test_expression_that_builds_values_is_not_light(expression: str) -> None:
    assert not is_light([expression], scope_size=1000)


def test_loop_over_large_scope_is_not_light() -> None:
    assert not is_light(["payload.all(x, x > 0)"], scope_size=LIGHT_SCOPE + 1)


def test_child_process_gives_same_outcomes() -> None:
    rules = [
        Rule(expression="payload.map(x, x + 'é').join(',') == 'aé,bé'", key=1),
        Rule(expression="payload.map(x, x) == []", message="{payload[0]}\n{payload}", key=2),
    ]
    first, second = evaluate(rules, {"payload": ["a", "b"]})

    assert (first.problem, first.key, second.key) == (None, 1, 2)
    assert second.problem
    assert second.problem.message == 'a\n["a", "b"]'


def test_memory_bomb_fails_its_own_rule_only() -> None:
    rules = [Rule(expression=text) for text in ("true", f"{DOUBLING}[0] == ''", "true")]
    before, bomb, after = (outcome.problem for outcome in evaluate(rules, {"payload": None}))

    assert before is None
    assert bomb
    assert "needs more time or memory than is allowed" in bomb.message
    assert after
    assert "an earlier assertion used up" in after.message


def test_child_process_over_time_limit_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = replace(assertions.ENGINE.manifest, seconds=0.01)
    monkeypatch.setattr(assertions, "ENGINE", replace(assertions.ENGINE, manifest=manifest))
    values: dict[str, Any] = {"payload": []}
    (outcome,) = evaluate_in_child([Rule(expression="true")], values)

    assert outcome.problem
    assert outcome.problem.code == "assertion.error"


def test_check_without_free_child_raises_engine_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(sandbox, "_places", threading.BoundedSemaphore(1))
    heavy = [Rule(expression="payload.join('') == 'a'", key=1)]
    with sandbox._places, pytest.raises(EngineBusy):
        evaluate(heavy, {"payload": ["a"]})

    # A child that has ended leaves its place to the next.
    for _ in range(2):
        assert evaluate(heavy, {"payload": ["a"]})[0].problem is None
