"""Times of the pages of runs as data grows: `python -m tests.bench.product growth` prints them.

The rows are made by PostgreSQL itself: of each 1,000 runs one is in a rare workflow, and each run has ten
findings. Other sizes are arguments; 1,000,000 runs need 8 GB.
"""

import statistics
from collections.abc import Iterator, Mapping
from functools import partial

from django.db import connection
from django.test import Client

from tests.bench.product import Row, milliseconds
from tests.factories import MembershipFactory, StepFactory
from validibot.accounts.models import Membership
from validibot.runs.models import Run

SIZES = (1_000, 10_000, 100_000)
VISITS = 21
_PAGES = {
    "list": "",
    "list, page 100 or the last": "?page=100",
    "list, workflow with most runs": "?workflow=common",
    "list, workflow with few runs": "?workflow=rare",
    "list, failed": "?result=fail",
    "list, timed out (none)": "?result=timed_out",
    "list, text of few": "?text=name-77",
    "list, text of all": "?text=reading",
    "a run": "RUN",
}
_ROWS = """
CREATE TEMPORARY TABLE made AS
    SELECT gen_random_uuid() AS id, number, CASE WHEN number %% 1000 = 7 THEN {rare} ELSE {common} END
        AS workflow, number %% 5 = 0 AS failed, now() - number * interval '1 minute' AS at
    FROM generate_series({first}, {last}) number;
INSERT INTO submissions_submission (id, organisation_id, filename, mime_type, size_bytes, sha256, inline,
        uri, storage_version, name, metadata, short_description, created_at)
    SELECT id, {org}, 'reading-' || number || '.json', 'application/json', 2, '', '{{}}', '', '',
        'name-' || number, '{{}}', '', at FROM made;
INSERT INTO runs_run (id, organisation_id, workflow_id, submission_id, user_id, source, scenario, status,
        error_category, error, created_at, started_at, ended_at)
    SELECT id, {org}, workflow, id, {user}, 'API', '', CASE WHEN failed THEN 'FAILED' ELSE 'SUCCEEDED' END,
        CASE WHEN failed THEN 'VALIDATION_FAILED' ELSE '' END, '', at, at, at FROM made;
INSERT INTO runs_steprun (run_id, step_id, "order", name, validator, validator_version, config_digest,
        image, status, error, outputs, starts, rules)
    SELECT id, {step}, 1, 'Check', 'json', '1', '', '', 'PASSED', '', '{{}}', 1,
        '[{{"severity": "INFO", "code": "a", "assertion": null, "count": 10, "first": [1, 2, 3, 4, 5]}}]'
    FROM made;
INSERT INTO runs_finding (run_id, step_run_id, "order", severity, code, message, path)
    SELECT made.id, step_run.id, place, 'INFO', 'a', 'Reading ' || number || ' is noted.', '/r/' || place
    FROM made JOIN runs_steprun step_run ON step_run.run_id = made.id, generate_series(1, 10) place;
DROP TABLE made;
"""


def measure(*sizes: int) -> Iterator[Row]:
    """Yield the times of each page, p50 and p95 in ms, at growing numbers of runs."""
    client, member = Client(), MembershipFactory.create()
    client.force_login(member.user)
    common = StepFactory.create(workflow__organisation=member.organisation, workflow__slug="common")
    rare = StepFactory.create(workflow__organisation=member.organisation, workflow__slug="rare")
    names = {"common": common.workflow_id, "rare": rare.workflow_id, "step": common.pk}
    made, figures = 0, {}
    for size in sizes or SIZES:
        _make(member, names, first=made + 1, last=size)
        made = size
        figures[size] = _visits(client, member)
    for title in _PAGES:
        found = "; ".join(f"{size:,}: {each[title]}" for size, each in figures.items())
        yield f"{title}, p50 and p95 in ms by number of runs", found, "p95 ≤ 80 ms"


def _make(member: Membership, names: Mapping[str, int], *, first: int, last: int) -> None:
    names = {**names, "org": member.organisation_id, "user": member.user_id}
    with connection.cursor() as cursor:
        cursor.execute(_ROWS.replace("%%", "%").format(**names, first=first, last=last))
        for table in ("runs_run", "runs_steprun", "runs_finding", "submissions_submission"):
            cursor.execute(f"ANALYZE {table}")  # autovacuum does it elsewhere


def _visits(client: Client, member: Membership) -> dict[str, str]:
    found = {}
    run = Run.objects.order_by("created_at")[500]
    for title, query in _PAGES.items():
        base = f"/app/orgs/{member.organisation.slug}/runs/"
        url = f"{base}{run.pk}/" if query == "RUN" else base + query
        assert client.get(url).status_code == 200
        times = milliseconds(partial(client.get, url), visits=VISITS)
        centiles = statistics.quantiles(times, n=20)
        found[title] = f"{statistics.median(times):.0f}, {centiles[18]:.0f}"
    return found
