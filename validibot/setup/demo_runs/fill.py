"""Rows of believable runs, made inside PostgreSQL in batches.

Everything about a run follows from the seed and its number, by digits of their MD5: the same arguments
give the same rows, a larger number of runs adds to those that are there, and an interrupted filling is
repeated. The times of runs spread over the year before `until` by a sequence of low discrepancy, so
that any number of runs covers the year; there are more towards its end, and few at weekends.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection, transaction
from psycopg import ClientCursor

from validibot.setup.demo import Say
from validibot.setup.demo_runs.plan import SeedPlan
from validibot.setup.demo_runs.statements import MOMENTS, ROWS, TABLES

BATCH = 10_000
_DAYS = 365
_TABLES = ("submissions_submission", "runs_run", "runs_steprun", "runs_finding", "runs_runevent")


@dataclass(frozen=True, slots=True)
class Filling:
    """How many runs and findings are wanted, before which moment, and by which seed."""

    runs: int
    findings: int
    until: dt.datetime
    seed: int = 1


def fill_runs(plan: SeedPlan, filling: Filling, say: Say) -> dict[str, int]:
    """Make the runs that are not there yet, the oldest first; return how many rows were made."""
    made = {"runs": 0, "findings": 0}
    values = _values(plan, filling)
    missing = _make_moments(values)
    for first in range(1, missing + 1, BATCH):
        last = min(first + BATCH - 1, missing)
        with transaction.atomic(), ClientCursor(connection.connection) as cursor:
            # A crash of the server may lose the last batches; they are made by the next call.
            cursor.execute("SET LOCAL synchronous_commit = off")
            _make_tables(cursor, plan)
            for name, statement in ROWS:
                cursor.execute(statement, values | {"first": first, "last": last})
                if name in made:
                    made[name] += cursor.rowcount
        say(f"{last:,} of {missing:,} runs are made.")
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"ANALYZE {table}")
    return made


def _make_moments(values: dict[str, Any]) -> int:
    """Make the temporary table of the missing runs with their times; return their number."""
    # A cursor that fills in the parameters itself: PostgreSQL takes none where a table is made.
    with transaction.atomic(), ClientCursor(connection.connection) as cursor:
        cursor.execute(MOMENTS, values)
        while cursor.nextset():
            pass
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def _values(plan: SeedPlan, filling: Filling) -> dict[str, Any]:
    return {
        "organisation": plan.organisation.pk,
        "people": plan.people,
        "runs": filling.runs,
        "seed": f"{plan.organisation.pk}:{filling.seed}",
        "until": filling.until,
        "seconds": _DAYS * 86_400,
        # Runs that end in an error, are cancelled or time out have no findings; and 1 is the least.
        "spread": 3.05 * filling.findings / filling.runs,
    }


def _make_tables(cursor: Any, plan: SeedPlan) -> None:
    """Make the temporary tables of the plan, which last as long as the transaction."""
    cursor.execute(TABLES)
    for table, rows in (
        ("seed_workflow", list(_workflow_rows(plan))),
        ("seed_rule", list(_rule_rows(plan))),
        ("seed_output", list(_output_rows(plan))),
    ):
        cursor.execute(
            f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)",  # noqa: S608
            [json.dumps(rows)],
        )


def _workflow_rows(plan: SeedPlan) -> Iterator[dict[str, Any]]:
    for each in plan.workflows:
        errors = sum(rule.severity == "ERROR" for rule in each.rules)
        yield {
            "workflow": each.workflow.pk,
            "project": each.workflow.project_id,
            "slug": each.workflow.slug,
            "low": each.low,
            "high": each.high,
            "pass_rate": each.pass_rate,
            "typical": each.seconds,
            "steps": len(each.steps),
            "errors": errors,
            "notes": len(each.rules) - errors,
        }


def _rule_rows(plan: SeedPlan) -> Iterator[dict[str, Any]]:
    for each in plan.workflows:
        places = {True: 0, False: 0}
        for rule in each.rules:
            is_error = rule.severity == "ERROR"
            key = {"workflow": each.workflow.pk, "is_error": is_error, "place": places[is_error]}
            yield key | asdict(rule)
            places[is_error] += 1


def _output_rows(plan: SeedPlan) -> Iterator[dict[str, Any]]:
    """Yield the outputs that have a number, with the middle of their values."""
    for each in plan.workflows:
        for step in each.steps:
            for place, output in enumerate(step.validator.outputs):
                if output.get("unit") or output["slug"].endswith("_count"):
                    yield {"step": step.pk, "slug": output["slug"], "middle": 40 + 35 * (place % 7)}
