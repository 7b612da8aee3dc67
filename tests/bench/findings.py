"""A run with 100,000 findings: `python -m tests.bench.product findings` prints what it costs.

The findings arrive as those of a container validator do, in one output envelope.
"""

import statistics
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.test import Client

from tests.bench.memory import peak
from tests.bench.product import Row, processor_milliseconds, processor_time
from tests.factories import MembershipFactory, StepFactory, started_run
from validibot.engines.problems import DocumentProblem
from validibot.runs.lifecycle import close_step
from validibot.runs.models import Run
from validibot.runs.verdict import MAX_FINDINGS, finding, judged

VISITS = 15
_SEVERITIES = ("ERROR", "WARNING", "INFO")


def measure() -> Iterator[Row]:
    """Yield the figures of one run with as many findings as a step may have."""
    client, member = Client(), MembershipFactory.create()
    client.force_login(member.user)
    run, seconds, megabytes = _stored(
        StepFactory.create(workflow__organisation=member.organisation)
    )
    yield (
        f"{MAX_FINDINGS:,} findings stored at the end of their step",
        f"{seconds:.1f} s of processor time",
        "≤ 10 s",
    )
    yield "the same, growth of the worker's peak memory", f"{megabytes} MB", "≤ 500 MB"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_finding")  # autovacuum does it elsewhere
    page = f"/app/orgs/{member.organisation.slug}/runs/{run.pk}/"
    last = MAX_FINDINGS // 100
    for title, path in {
        "the run's page": "",
        "first page of findings": "steps/1/findings/",
        "last page of findings": f"steps/1/findings/?page={last}",
        "page in the middle": f"steps/1/findings/?page={last // 2}",
        "findings of one rule": "steps/1/findings/?code=rule.7",
        "search in all findings": "steps/1/findings/?text=value+77",
        "search without a match": "steps/1/findings/?text=nothing+like+this",
    }.items():
        yield (
            f"run with {MAX_FINDINGS:,} findings: {title}",
            _times(client, page + path),
            "≤ 100 ms",
        )


def _stored(step: Any) -> tuple[Run, float, int]:
    run = started_run(step=step)
    Run.objects.filter(pk=run.pk).update(status="RUNNING", started_at=run.created_at)
    step_run = run.steps.get()
    run.steps.update(status="RUNNING", started_at=run.created_at)
    problems = [
        DocumentProblem(
            f"Row {n} has the value {n % 1000}, which column {n % 40} does not allow.",
            severity=_SEVERITIES[n % 7 % 3],
            code=f"rule.{n % 25}",
            path=f"/rows/{n}/{n % 40}",
            line=n + 1,
        )
        for n in range(MAX_FINDINGS)
    ]
    before = peak()
    started = processor_time()
    verdict = judged(map(finding, problems))
    close_step(Run.objects.filter(pk=run.pk), step_run, verdict, last=True, actor="worker")
    seconds = (processor_time() - started) / 1000
    after = peak()
    return run, seconds, int(after - before)


def _times(client: Client, url: str) -> str:
    times = processor_milliseconds(lambda: client.get(url), visits=VISITS)
    assert client.get(url).status_code == 200
    return f"p50 {statistics.median(times):.0f} ms, max {max(times):.0f} ms of processor time"
