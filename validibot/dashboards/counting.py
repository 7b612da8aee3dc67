"""The count of the runs of a day, and the scheduled pass that counts the days."""

import datetime as dt
from typing import Any

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone

from validibot.accounts.models import Organisation
from validibot.dashboards.durations import LAST_PLACE, LEAST_SECONDS, STEPS_PER_OCTAVE
from validibot.dashboards.models import CountedDay, DailyFigures
from validibot.runs.models import Run

# A day is counted once more after so long: a run that ended in its last moments may be committed late.
SETTLED_AFTER = dt.timedelta(hours=1)
# Days of one pass; the next pass goes on.
MAX_DAYS = 60
# Rules of a part and a day that are kept.
MAX_RULES = 50
# Any number: passes at the same time wait for each other.
_LOCK = 718_203_114

_COUNT = """
WITH ended AS MATERIALIZED (
    SELECT run.id, run.organisation_id, run.user_id, workflow.slug AS workflow, project.slug AS project,
        CASE WHEN run.status = 'SUCCEEDED' THEN 'passed' WHEN run.status = 'CANCELED' THEN 'canceled'
            WHEN run.status = 'TIMED_OUT' OR run.error_category = 'TIMEOUT' THEN 'timed_out'
            WHEN run.error_category = 'VALIDATION_FAILED' THEN 'failed' ELSE 'errors' END AS result,
        extract(epoch FROM run.ended_at - run.started_at)::float8 AS seconds
    FROM runs_run run
    JOIN workflows_workflow workflow ON workflow.id = run.workflow_id
    LEFT JOIN accounts_project project ON project.id = workflow.project_id
    WHERE run.ended_at >= %(start)s::timestamptz AND run.ended_at < %(end)s::timestamptz
        AND run.source <> 'TRIAL' AND run.organisation_id = ANY(%(organisations)s::bigint[])
), step AS MATERIALIZED (
    SELECT ended.organisation_id, ended.id AS run, ended.user_id, ended.workflow, ended.project,
        step_run.validator, step_run.rules,
        CASE step_run.status WHEN 'PASSED' THEN 'passed' WHEN 'CANCELED' THEN 'canceled'
            ELSE CASE WHEN ended.result IN ('passed', 'canceled') THEN 'failed' ELSE ended.result END
            END AS result,
        extract(epoch FROM step_run.ended_at - step_run.started_at)::float8 AS seconds
    FROM ended JOIN runs_steprun step_run ON step_run.run_id = ended.id
    WHERE step_run.status IN ('PASSED', 'FAILED', 'CANCELED')
), part AS (
    SELECT organisation_id, kind, key, result, user_id, place_of.place
    FROM ended CROSS JOIN LATERAL (VALUES ('organisation', ''), ('project', project),
        ('workflow', workflow)) tag (kind, key)
    CROSS JOIN LATERAL (SELECT PLACE AS place) place_of
    WHERE key IS NOT NULL
    UNION ALL
    SELECT organisation_id, 'validator', validator, result, user_id, place_of.place
    FROM step CROSS JOIN LATERAL (SELECT PLACE AS place) place_of
), counted AS (
    SELECT organisation_id, kind, key, count(DISTINCT user_id) AS people,
        count(*) FILTER (WHERE result = 'passed') AS passed,
        count(*) FILTER (WHERE result = 'failed') AS failed,
        count(*) FILTER (WHERE result = 'errors') AS errors,
        count(*) FILTER (WHERE result = 'timed_out') AS timed_out,
        count(*) FILTER (WHERE result = 'canceled') AS canceled
    FROM part GROUP BY organisation_id, kind, key
), scale AS (
    SELECT organisation_id, kind, key, jsonb_object_agg(place, times) AS durations FROM (
        SELECT organisation_id, kind, key, place, count(*) AS times FROM part
        WHERE place IS NOT NULL AND result IN ('passed', 'failed')
        GROUP BY organisation_id, kind, key, place
    ) AS by_place GROUP BY organisation_id, kind, key
), rule AS (
    SELECT organisation_id, kind, key, severity, code, sum(times) AS times,
        row_number() OVER (PARTITION BY organisation_id, kind, key
            ORDER BY array_position(ARRAY['ERROR', 'WARNING', 'INFO'], severity), sum(times) DESC, code) AS rank
    FROM (
        SELECT organisation_id, workflow, project, validator, rule ->> 'severity' AS severity,
            coalesce(rule ->> 'code', '') AS code, (rule ->> 'count')::bigint AS times
        FROM step CROSS JOIN LATERAL jsonb_array_elements(
            CASE jsonb_typeof(rules) WHEN 'array' THEN rules ELSE '[]' END) rule
    ) AS found CROSS JOIN LATERAL (VALUES ('organisation', ''), ('project', project),
        ('workflow', workflow), ('validator', validator)) tag (kind, key)
    WHERE key IS NOT NULL
    GROUP BY organisation_id, kind, key, severity, code
), rules AS (
    SELECT organisation_id, kind, key, sum(times) AS findings,
        jsonb_agg(jsonb_build_object('severity', severity, 'code', code, 'count', times) ORDER BY rank)
            FILTER (WHERE rank <= %(rules)s::int) AS rules
    FROM rule GROUP BY organisation_id, kind, key
)
INSERT INTO dashboards_dailyfigures (organisation_id, day, kind, key, passed, failed, errors, timed_out,
    canceled, people, findings, durations, rules)
SELECT counted.organisation_id, %(day)s::date, kind, key, passed, failed, errors, timed_out, canceled,
    people, coalesce(findings, 0), coalesce(durations, '{}'), coalesce(rules.rules, '[]')
FROM counted
LEFT JOIN scale USING (organisation_id, kind, key)
LEFT JOIN rules USING (organisation_id, kind, key)
"""
# The place of a duration on the scale of `durations`.
_PLACE = (
    f"CASE WHEN seconds >= 0 THEN least({LAST_PLACE}, greatest(0, floor({STEPS_PER_OCTAVE}"
    f" * log(2, greatest(seconds, {LEAST_SECONDS})::numeric / {LEAST_SECONDS}))))::int END"
)


def count_days() -> dict[str, int]:
    """Count the runs of today, and of each earlier day that was not counted since it was settled."""
    now = timezone.now().astimezone(dt.UTC)
    today, settled_before = now.date(), (now - SETTLED_AFTER).date()
    days = 0
    for day in _open_days(today):
        count_day(day, list(Organisation.objects.values_list("pk", flat=True)))
        if day < settled_before:  # a pass that began before midnight must not open the day again
            CountedDay.objects.update_or_create(day=day, defaults={"is_over": True})
        else:
            CountedDay.objects.get_or_create(day=day)
        days += 1
    return {"days": days}


def count_year(organisation: Organisation, last: dt.date) -> None:
    """Count the runs of one organisation on the days of the year up to `last`."""
    for number in range(366, -1, -1):
        count_day(last - dt.timedelta(days=number), [organisation.pk])


def _open_days(today: dt.date) -> list[dt.date]:
    """Return the days to count, the oldest first, at most `MAX_DAYS`."""
    last = CountedDay.objects.filter(is_over=True).order_by("-day").first()
    if last:
        first = last.day + dt.timedelta(days=1)
    else:
        earliest: dt.datetime | None = Run.objects.aggregate(at=Min("ended_at"))["at"]
        first = earliest.astimezone(dt.UTC).date() if earliest else today
    number = min((today - first).days + 1, MAX_DAYS)
    return [first + dt.timedelta(days=each) for each in range(number)]


def count_day(day: dt.date, organisations: list[int]) -> None:
    """Replace the figures that organisations have of a day by those of their runs."""
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    values: dict[str, Any] = {
        "day": day,
        "start": start,
        "end": start + dt.timedelta(days=1),
        "organisations": organisations,
        "rules": MAX_RULES,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        DailyFigures.objects.filter(day=day, organisation__in=organisations).delete()
        cursor.execute(_COUNT.replace("PLACE", _PLACE), values)
