"""Daily figures: the count of runs, and what is read of it."""

import datetime as dt
from typing import Any

import pytest
import time_machine

from tests.factories import FindingFactory, RunFactory, StepFactory, StepRunFactory
from validibot.accounts.models import Organisation
from validibot.dashboards.counting import count_days
from validibot.dashboards.durations import centile
from validibot.dashboards.models import CountedDay, DailyFigures
from validibot.dashboards.reading import Selection, as_csv, read_dashboard
from validibot.runs.models import Run, StepRun
from validibot.runs.rules import as_rows
from validibot.workflows.models import Step

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def step() -> Step:
    step = StepFactory.create(workflow__slug="checks", validator__slug="json-schema")
    project = step.workflow.organisation.projects.create(name="Metering", slug="metering")
    type(step.workflow).objects.filter(pk=step.workflow.pk).update(project=project)
    return step


def ended(
    step: Step, at: dt.datetime, *, seconds: float = 1, errors: int = 0, **fields: Any
) -> Run:
    bad = {"status": "FAILED", "error_category": "VALIDATION_FAILED"} if errors else {}
    run = RunFactory.create(
        workflow=step.workflow,
        started_at=at - dt.timedelta(seconds=seconds),
        ended_at=at,
        **{"status": "SUCCEEDED", **bad, **fields},
    )
    step_run = StepRunFactory.create(
        run=run,
        step=step,
        status="FAILED" if errors else "PASSED",
        started_at=run.started_at,
        ended_at=at,
    )
    found = [
        FindingFactory.create(
            run=run, step_run=step_run, order=n, severity="ERROR", code="json.schema"
        )
        for n in range(errors)
    ]
    StepRun.objects.filter(pk=step_run.pk).update(rules=as_rows(found))
    return run


def figures(organisation: Organisation, kind: str, key: str = "") -> Any:
    selection = Selection(organisation, NOON.date(), NOON.date(), kind, key)
    return read_dashboard(selection)


def test_count_has_organisation_project_workflow_and_validator(step: Step) -> None:
    with time_machine.travel(NOON, tick=False):
        ended(step, NOON, seconds=1)
        ended(step, NOON, seconds=8, errors=3)
        ended(step, NOON, status="TIMED_OUT")
        ended(step, NOON, source="TRIAL")
        ended(step, NOON - dt.timedelta(days=1))
        assert count_days() == {"days": 2}

    organisation = step.workflow.organisation
    for kind, key in (("organisation", ""), ("project", "metering"), ("workflow", "checks")):
        total = figures(organisation, kind, key).total
        assert dict(total.results) == {
            "passed": 1,
            "failed": 1,
            "timed_out": 1,
            "errors": 0,
            "canceled": 0,
        }
        assert (total.runs, total.pass_rate, total.findings) == (3, 0.5, 3)
        assert total.p50 == pytest.approx(1, rel=0.1)
        assert total.p95 == pytest.approx(8, rel=0.1)
    (rule,) = figures(organisation, "validator", "json-schema").rules
    assert (rule.severity, rule.code, rule.count) == ("ERROR", "json.schema", 3)


def test_count_of_a_day_that_is_over_survives_purge(step: Step) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        ended(step, NOON)
        count_days()
        count_days()  # today is counted anew, not twice
        assert DailyFigures.objects.get(kind="organisation").passed == 1
        ended(step, NOON + dt.timedelta(hours=11))
        clock.shift(dt.timedelta(days=1))
        count_days()
        StepRun.objects.all().delete()
        Run.objects.all().delete()
        assert count_days() == {"days": 1}

    assert figures(step.workflow.organisation, "organisation").total.runs == 2
    assert list(CountedDay.objects.values_list("is_over", flat=True)) == [True, False]


def test_run_committed_after_midnight_counts_for_its_day(step: Step) -> None:
    with time_machine.travel(NOON.replace(hour=23, minute=59), tick=False) as clock:
        ended(step, NOON)
        clock.shift(dt.timedelta(minutes=2))
        count_days()
        ended(step, NOON.replace(hour=23, minute=59))
        clock.shift(dt.timedelta(hours=1))
        count_days()

    assert figures(step.workflow.organisation, "organisation").total.runs == 2
    assert list(CountedDay.objects.values_list("is_over", flat=True)) == [True, False]


def test_pass_after_a_long_break_goes_on_in_the_next_one(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.dashboards.counting.MAX_DAYS", 3)
    with time_machine.travel(NOON, tick=False):
        ended(step, NOON - dt.timedelta(days=4))
        ended(step, NOON)
        assert [count_days()["days"] for _ in range(3)] == [3, 2, 1]

    assert figures(step.workflow.organisation, "organisation").total.runs == 1


def test_long_selection_has_weeks_and_months_without_gaps(step: Step) -> None:
    organisation = step.workflow.organisation
    for days, unit, number in ((31, "day", 31), (60, "week", 9), (365, "month", 12)):
        last = dt.date(2026, 12, 31)
        first = last - dt.timedelta(days=days - 1)
        found = read_dashboard(Selection(organisation, first, last))
        assert (found.unit, len(found.periods)) == (unit, number)


def test_csv_has_a_row_for_each_day_with_runs(step: Step) -> None:
    with time_machine.travel(NOON, tick=False):
        ended(step, NOON, errors=2)
        count_days()

    lines = as_csv(Selection(step.workflow.organisation, NOON.date(), NOON.date())).decode()
    assert lines.splitlines()[1].startswith("2026-03-10,1,0,1,0,0,0,0.0,0.")


def test_centile_without_durations_is_not_a_number() -> None:
    assert centile({}, 0.5) != centile({}, 0.5)
