"""Conditions, signals and messages of steps."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from tests.factories import AssertionFactory, StepFactory, started_run
from tests.unit.validibot.runs.scripted import post, store_output
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.execute import execute
from validibot.runs.models import Run, RunEvent
from validibot.workflows.models import Step

pytestmark = pytest.mark.django_db


def steps(*fields: dict[str, Any]) -> list[Step]:
    first = StepFactory.create(**fields[0])
    return [
        first,
        *(
            StepFactory.create(
                workflow=first.workflow, order=order, validator=first.validator, **each
            )
            for order, each in enumerate(fields[1:], start=2)
        ),
    ]


def executed(first: Step, inline: bytes = b'{"name": "Ada", "age": 3}') -> Run:
    run = started_run(step=first, inline=inline)
    execute(run.pk)
    run.refresh_from_db()
    return run


def codes(run: Run) -> list[str]:
    return list(run.findings.order_by("step_run__order", "order").values_list("code", flat=True))


@pytest.mark.parametrize("last", [False, True])
def test_step_whose_condition_is_not_true_is_skipped(last: bool) -> None:
    fields: list[dict[str, Any]] = [{}, {}]
    fields[last]["when"] = "p.age > 30"
    run = executed(steps(*fields)[0])

    statuses = list(run.steps.order_by("order").values_list("status", flat=True))
    assert run.result == "PASS"
    assert statuses == (["PASSED", "SKIPPED"] if last else ["SKIPPED", "PASSED"])
    assert RunEvent.objects.filter(run=run, kind="step_skipped").count() == 1


def test_condition_without_value_fails_its_step() -> None:
    run = executed(steps({"when": "p.height > 30"}, {})[0])

    finding = run.findings.get()
    assert (run.result, finding.code) == ("FAIL", "condition.error")
    assert "p.height > 30" in finding.message


def test_signal_is_used_by_its_own_and_later_steps() -> None:
    signals = [{"name": "years", "expression": "p.age * 2"}]
    first, _ = steps({"signals": signals}, {"when": "s.years == 6 && steps['1'].years == 6"})
    AssertionFactory.create(step=first, expression="s.years == 6 && o.years == 6")

    run = executed(first)

    assert [each.status for each in run.steps.order_by("order")] == ["PASSED", "PASSED"]
    assert run.steps.get(order=1).outputs == {"years": 6}


def test_signal_without_value_is_a_warning() -> None:
    signals = [
        {"name": "height", "expression": "p.height"},
        {"name": "at", "expression": "timestamp('2026-01-31T00:00:00Z')"},
        {
            "name": "long",
            "expression": "'x'.replace('x', 'yyyyyyyyyy').split('').map(y, [1, 2, 3])",
        },
    ]
    run = executed(steps({"signals": signals})[0])

    outputs = run.steps.get().outputs
    assert (run.result, codes(run)) == ("PASS", ["signal.error"])
    assert outputs["height"] is None
    assert "2026-01-31" in outputs["at"]
    assert len(outputs["long"]) == 10


@pytest.mark.parametrize(
    ("inline", "code", "text"),
    [
        (b'{"name": "Ada", "age": 3}', "step.passed", "Ada is right."),
        (b'{"age": 3}', "step.failed", "Give a name to the one of 3."),
    ],
)
def test_message_of_step_shows_values(inline: bytes, code: str, text: str) -> None:
    fields = {
        "message": "Give a name to the one of {p.age}.",
        "success_message": "{p.name} is right.",
    }

    run = executed(steps(fields)[0], inline)

    said = run.findings.get(code=code)
    assert (said.severity, said.message) == ("INFO", text)


def test_container_step_has_signals_and_message(
    request_: LaunchRequest, container_run: Run
) -> None:
    Step.objects.update(
        signals=[{"name": "double", "expression": "o.y * 2.0"}], success_message="y is {s.double}/2"
    )
    store_output(request_)

    post(request_)

    step_run = container_run.steps.get()
    assert step_run.outputs["double"] == step_run.outputs["y"] * 2
    assert container_run.findings.get().code == "step.passed"


def test_container_step_is_not_launched_where_its_condition_is_false(
    container_run: Run, provider: Any
) -> None:
    Step.objects.update(when="submission.filename == 'other'")

    execute(container_run.pk)

    container_run.refresh_from_db()
    assert (container_run.result, provider.requests) == ("PASS", [])


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"when": "p.a =="}, "when"),
        ({"when": "1 + 1"}, "when"),
        ({"message": "{{ p. }}"}, "message"),
        ({"signals": [{"name": "1x", "expression": "1"}]}, "signals"),
        ({"signals": [{"name": "x", "expression": "1 +"}]}, "signals"),
        ({"signals": [{"name": "x", "expression": "1"}] * 2}, "signals"),
        ({"signals": {"x": "1"}}, "signals"),
    ],
)
def test_wrong_expression_is_refused_at_its_field(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StepFactory.create(**fields)

    assert list(caught.value.message_dict) == [place]


def test_errors_of_step_that_counts_them_as_warnings_let_the_run_pass() -> None:
    first = StepFactory.create(severity="WARNING", message="Not yet complete.")
    StepFactory.create(
        workflow=first.workflow,
        order=2,
        validator=first.validator,
        config={"schema": {"type": "object"}},
    )
    run = started_run(step=first, inline=b"{}")

    execute(run.pk)

    run.refresh_from_db()
    assert (run.result, set(run.steps.values_list("status", flat=True))) == ("PASS", {"PASSED"})
    assert list(run.findings.values_list("severity", "code")) == [
        ("WARNING", "required"),
        ("INFO", "step.failed"),
    ]


def test_step_that_cannot_be_executed_fails_whatever_its_severity() -> None:
    step = StepFactory.create(severity="WARNING")
    Step.objects.filter(pk=step.pk).update(config={"schema": {"type": "no such type"}})
    run = started_run(step=step)

    execute(run.pk)

    run.refresh_from_db()
    assert (run.result, run.steps.get().status) == ("ERROR", "FAILED")
