"""Filters of lists of runs, for the pages and for the API."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation
from validibot.core.words import WORDS
from validibot.runs.listing import RunSearch
from validibot.runs.models import Run
from validibot.runs.states import ErrorCategory, RunStatus
from validibot.submissions.models import Submission

# Runs that a page shows.
RUNS_PER_PAGE = 50
# Submissions that are looked up before their runs.
FEW = 5_000
# Newest runs in which a text is looked for, before an index is asked for it. If it is found more often
# than RARE, reading runs from the newest on fills a page sooner than the index: of 1,000,000 runs those
# with 1 in 250 take 30 ms, and all that the index names 150 ms.
NEWEST, RARE = 500, 1
# Findings that are read for one page; of a run with more, the first ones.
READ_FINDINGS = 10_000
RESULTS = (
    ("unfinished", _("Not finished")),
    ("pass", WORDS["PASS"]),
    ("fail", WORDS["FAIL"]),
    ("error", WORDS["ERROR"]),
    ("canceled", WORDS["CANCELED"]),
    ("timed_out", WORDS["TIMED_OUT"]),
)

# Without `OFFSET 0` PostgreSQL might read the findings of all runs.
_SEARCH_FINDINGS = """
SELECT place, bool_or(upper(message) LIKE upper(%s)), count(*)
FROM (
    SELECT place, message
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS run (id, place)
    CROSS JOIN LATERAL (SELECT message FROM runs_finding WHERE run_id = run.id OFFSET 0) AS own
    LIMIT %s
) AS read
GROUP BY place
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSelection:
    """The runs that are wanted; a field that is empty selects all.

    `text` is part of a file name or name, `finding` part of a finding's message; `workflow` and `project`
    are slugs, `result` is one of `RESULTS`, and `user_id` is who started the run. Runs of the source TRIAL
    are left out unless `source` names it.
    """

    text: str = ""
    finding: str = ""
    workflow: str = ""
    version: int | None = None
    project: str = ""
    status: str = ""
    result: str = ""
    user_id: int | None = None
    source: str = ""
    after: dt.datetime | None = None
    before: dt.datetime | None = None

    @property
    def search(self) -> RunSearch | None:
        """The search for the text in findings, if there is one."""
        return partial(_with_finding, self.finding) if self.finding else None

    def applied(self, runs: "QuerySet[Run]", organisation: Organisation) -> "QuerySet[Run]":
        """Return those of an organisation's runs that fit, whatever their findings are (see `search`)."""
        runs = self._of_versions(runs, organisation)
        if self.after:
            runs = runs.filter(created_at__gte=self.after)
        if self.before:
            runs = runs.filter(created_at__lt=self.before)
        if self.status:
            runs = runs.filter(status=self.status)
        if self.result:
            runs = runs.filter(_with_result(self.result))
        if self.user_id is not None:
            runs = runs.filter(user=self.user_id)
        if self.source:
            runs = runs.filter(source=self.source)
        else:
            runs = runs.exclude(source=Run.Source.TRIAL)
        return _with_text(runs, organisation, self.text) if self.text else runs

    def _of_versions(self, runs: "QuerySet[Run]", organisation: Organisation) -> "QuerySet[Run]":
        lookups = {"slug": self.workflow, "version": self.version, "project__slug": self.project}
        wanted = {lookup: value for lookup, value in lookups.items() if value}
        if not wanted:
            return runs
        # Keys, not a join: PostgreSQL then knows how many runs the workflows have.
        versions = organisation.workflows.filter(**wanted).values_list("pk", flat=True)
        return runs.filter(workflow__in=list(versions))


def _with_text(runs: "QuerySet[Run]", organisation: Organisation, text: str) -> "QuerySet[Run]":
    """Return the runs whose file name or name contains `text`.

    Where a page is soon found, the runs are read from the newest on. A text that is rare among the newest
    is looked up by its index: PostgreSQL would read all runs instead.
    """
    of_run = Q(submission__filename__icontains=text) | Q(submission__name__icontains=text)
    newest = runs.order_by("-created_at").values("submission")[:NEWEST]
    contain = Q(filename__icontains=text) | Q(name__icontains=text)
    if Submission.objects.filter(contain, pk__in=newest).count() > RARE:
        return runs.filter(of_run)
    few = Submission.objects.filter(contain, organisation=organisation)
    keys = list(few.values_list("pk", flat=True)[: FEW + 1])
    return runs.filter(submission__in=keys) if len(keys) <= FEW else runs.filter(of_run)


def _with_finding(text: str, runs: Sequence[UUID]) -> tuple[set[UUID], int]:
    """Return which of the runs have a finding that contains `text`, and how many were searched.

    An index of the texts of all findings would take longer to write than the findings themselves, so
    those of some runs are read, and the next page goes on from there. Of a run with more findings than
    a page reads, the first ones are searched.
    """
    pattern = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
    with connection.cursor() as cursor:
        cursor.execute(_SEARCH_FINDINGS, [pattern, list(runs), READ_FINDINGS])
        rows = cursor.fetchall()
    if sum(count for *_, count in rows) < READ_FINDINGS:
        searched = len(runs)
    else:  # the last run was read in part
        searched = max(1, max(place for place, *_ in rows) - 1)
    return {runs[place - 1] for place, fits, _ in rows if fits and place <= searched}, searched


def _with_result(result: str) -> Q:
    """Return the condition for a result as the pages name it (see `states.public_result`).

    Conditions are equalities, so that the index `runs_by_result` answers them.
    """
    failed = Q(status=RunStatus.FAILED)
    late, judged = ErrorCategory.TIMEOUT, ErrorCategory.VALIDATION_FAILED
    broken = [each for each in ErrorCategory.values if each not in (late, judged)]
    conditions = {
        "unfinished": Q(status__in=(RunStatus.PENDING, RunStatus.RUNNING)),
        "pass": Q(status=RunStatus.SUCCEEDED),
        "fail": failed & Q(error_category=judged),
        "error": failed & Q(error_category__in=broken),
        "canceled": Q(status=RunStatus.CANCELED),
        "timed_out": Q(status=RunStatus.TIMED_OUT) | (failed & Q(error_category=late)),
    }
    return conditions[result]
