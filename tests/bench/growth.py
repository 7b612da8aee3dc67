"""Processor time of the pages of runs as data grows: `python -m tests.bench.product growth` prints it.

The rows are those of `manage.py seed_demo`, with ten findings for each run. Other sizes are arguments;
1,000,000 runs need 6 GB and, on two idle processors, about ten minutes. The figures are the processor
time of this process and of its connection's server process together: other programs hardly change it.
They are drawn into `docs/growth.svg`. A page with more runs takes longer whatever lies behind it, so a time is
compared with that at the smallest size whose page shows as many.
"""

import datetime as dt
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

from django.conf import settings
from django.db import connection
from django.test import Client

from tests.bench.plot import PlotLine, draw
from tests.bench.product import Row, processor_milliseconds
from tests.database import ROOT
from tests.factories import MembershipFactory
from validibot.accounts.models import Membership
from validibot.dashboards.counting import count_year
from validibot.runs.models import Run
from validibot.setup.demo_runs import Filling, fill_runs, prepare
from validibot.workflows.catalogue import sync_validators

SIZES = (1_000, 10_000, 100_000, 1_000_000)
VISITS = 21
PLOT = ROOT / "docs" / "growth.svg"
_UNTIL = dt.datetime(2026, 10, 31, 18, tzinfo=dt.UTC)
_PAGES = {
    "list": "",
    "list, in the middle": "?older=2026-05-04T12:00:00.000000Z_00000000-0000-0000-0000-000000000000",
    "list, workflow with most runs": "?workflow=COMMON",
    "list, workflow with few runs": "?workflow=RARE",
    "list, project": "?project=metering",
    "list, version": "?workflow=COMMON&version=1",
    "list, failed": "?result=fail",
    "list, timed out": "?result=timed_out",
    "list, few runs and failed": "?workflow=RARE&result=fail",
    "list, project and cancelled": "?project=metering&result=canceled",
    "list, person": "?person=PERSON",
    "list, source": "?source=CLI",
    "list, source of no run": "?source=LINK",
    "list, two days": "?after=2026-05-04&before=2026-05-06",
    "list, text of few": "?text=delivery+77",
    "list, text of all": "?text=delivery",
    "list, finding of many": "?finding=number",
    "list, finding of none": "?finding=nothing+like+this",
    "a dashboard over a year": "DASHBOARD",
    "a run": "RUN",
    "findings of a step": "RUNsteps/1/findings/",
}
# The lines of the plot, of which there may be five.
_DRAWN = (
    "list",
    "list, workflow with few runs",
    "list, text of few",
    "list, finding of none",
    "a run",
)

# The p50 and the p95 in ms, and the rows that the page shows.
type Figures = tuple[float, float, int]


def measure(*sizes: int) -> Iterator[Row]:
    """Yield the times of each page, p50 and p95 in ms, at growing numbers of runs."""
    settings.DATA_ROOT = Path(connection.settings_dict["NAME"]).absolute().as_uri()
    sync_validators(settings.VALIDATORS_DIR)
    member = MembershipFactory.create()
    client = Client()
    client.force_login(member.user)
    plan = prepare(member.organisation, lambda text: None)
    slugs = [each.workflow.slug for each in plan.workflows]
    names = {"COMMON": slugs[0], "RARE": slugs[-1], "PERSON": str(plan.people[0])}
    figures: dict[int, dict[str, Figures]] = {}
    for size in sizes or SIZES:
        fill_runs(plan, Filling(size, 10 * size, _UNTIL), lambda text: None)
        count_year(member.organisation, _UNTIL.date())
        figures[size] = dict(_visits(client, member, names))
    for title in _PAGES:
        found = "; ".join(
            f"{size:,}: {each[title][0]:.0f}, {each[title][1]:.0f}"
            for size, each in figures.items()
        )
        times = _growth([each[title] for each in figures.values()])
        measured = f"{found}; {times:.2f} times"
        yield f"{title}: processor ms by runs, p50 and p95", measured, "p95 ≤ 80 ms, ≤ 1.3 times"
    if len(figures) > 1:
        lines = [PlotLine(title, [each[title][0] for each in figures.values()]) for title in _DRAWN]
        title = "Processor time of a page (p50, ms) by number of runs"
        PLOT.write_text(draw(title, [f"{size:,}" for size in figures], lines))


def _growth(figures: list[Figures]) -> float:
    """Return how many times as long the last page takes as the first with as many rows."""
    last, _, rows = figures[-1]
    return last / next(time for time, _, shown in figures if shown == rows)


def _visits(
    client: Client, member: Membership, names: dict[str, str]
) -> Iterator[tuple[str, Figures]]:
    failed = Run.objects.filter(error_category="VALIDATION_FAILED", steps__order=1)
    run = failed.exclude(findings=None).order_by("-created_at")[10]
    with connection.cursor() as cursor:
        # The time of further server processes would not be counted.
        cursor.execute("SET max_parallel_workers_per_gather = 0")
    base = f"/app/orgs/{member.organisation.slug}/runs/"
    names |= {
        "RUN": f"{run.pk}/",
        "DASHBOARD": "../dashboard/?first=2025-11-01&last=2026-10-31",
    }
    for title, query in _PAGES.items():
        for name, value in names.items():
            query = query.replace(name, value)  # noqa: PLW2901
        url = urljoin(base, query)
        answer = client.get(url)
        assert answer.status_code == 200
        rows = answer.content.count(b"<tr>")
        times = processor_milliseconds(partial(client.get, url), visits=VISITS)
        yield title, (statistics.median(times), statistics.quantiles(times, n=20)[18], rows)
