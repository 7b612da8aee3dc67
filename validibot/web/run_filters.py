"""The filters above the list of runs."""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation
from validibot.accounts.scope import Scope
from validibot.runs.models import Run
from validibot.runs.states import ErrorCategory, RunStatus
from validibot.submissions.models import Submission
from validibot.web.paging import RunSearch
from validibot.workflows.select import visible_projects, visible_workflows

# Runs that a page shows.
RUNS_PER_PAGE = 50
# Submissions that are looked up before their runs.
FEW = 5_000
# Newest runs in which a text is looked for, before an index is asked for it.
NEWEST = 1_000
# Findings that are read for one page; of a run with more, the first ones.
READ_FINDINGS = 10_000
# People that the form offers.
MAX_PEOPLE = 500
_RESULTS = (
    ("unfinished", _("Not finished")),
    ("pass", _("Passed")),
    ("fail", _("Failed")),
    ("error", _("Error")),
    ("canceled", _("Cancelled")),
    ("timed_out", _("Timed out")),
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


class RunFilters(forms.Form):
    """Limits of the list of runs; a field that cannot be used is reported and left out."""

    text = forms.CharField(label=_("File or name"), max_length=200, required=False)
    finding = forms.CharField(label=_("Text in findings"), max_length=200, required=False)
    workflow = forms.ChoiceField(label=_("Workflow"), required=False)
    version = forms.IntegerField(
        label=_("Version"), min_value=1, max_value=2**31 - 1, required=False
    )
    project = forms.ChoiceField(label=_("Project"), required=False)
    result = forms.ChoiceField(
        label=_("Result"), choices=[("", _("Every result")), *_RESULTS], required=False
    )
    person = forms.ChoiceField(label=_("Started by"), required=False)
    source = forms.ChoiceField(
        label=_("From"),
        choices=[("", _("Everywhere")), *Run.Source.choices],
        required=False,
    )
    after = forms.DateField(
        label=_("From day"), required=False, widget=forms.DateInput({"type": "date"})
    )
    before = forms.DateField(
        label=_("Before day"), required=False, widget=forms.DateInput({"type": "date"})
    )

    def __init__(self, data: Mapping[str, Any], *, scope: Scope) -> None:
        super().__init__(data)
        self._user = scope.user
        self._organisation = scope.organisation
        slugs = visible_workflows(scope).values_list("slug", "name")
        self.fields["workflow"].choices = [("", _("Every workflow")), *slugs]  # type: ignore[attr-defined]
        projects = visible_projects(scope).values_list("slug", "name")
        self.fields["project"].choices = [("", _("Every project")), *projects]  # type: ignore[attr-defined]
        people = [("", _("Everybody")), ("me", _("Me")), *_people(scope)]
        self.fields["person"].choices = people  # type: ignore[attr-defined]

    @property
    def in_use(self) -> bool:
        """Whether any filter is set."""
        return any(self._chosen().values())

    def applied(self, runs: "QuerySet[Run]") -> "QuerySet[Run]":
        """Return the runs that the filters select, all but the text in findings (see `search`)."""
        chosen = self._chosen()
        runs = self._of_versions(runs, chosen)
        # Moments, not days: an index knows them.
        if after := chosen.get("after"):
            runs = runs.filter(created_at__gte=_midnight(after))
        if before := chosen.get("before"):
            runs = runs.filter(created_at__lt=_midnight(before))
        if result := chosen.get("result"):
            runs = runs.filter(_with_result(result))
        if person := chosen.get("person"):
            runs = runs.filter(user=self._user.pk if person == "me" else person)
        if source := chosen.get("source"):
            runs = runs.filter(source=source)
        else:
            runs = runs.exclude(source=Run.Source.TRIAL)
        if text := chosen.get("text"):
            runs = _with_text(runs, self._organisation, text)
        return runs

    @property
    def search(self) -> RunSearch | None:
        """The search for the text in findings, if there is one."""
        text = self._chosen().get("finding")
        return partial(_with_finding, text) if text else None

    def _of_versions(self, runs: "QuerySet[Run]", chosen: dict[str, Any]) -> "QuerySet[Run]":
        lookups = {"workflow": "slug", "version": "version", "project": "project__slug"}
        wanted = {lookups[name]: chosen[name] for name in lookups if chosen.get(name)}
        if not wanted:
            return runs
        # Keys, not a join: PostgreSQL then knows how many runs the workflows have.
        versions = self._organisation.workflows.filter(**wanted).values_list("pk", flat=True)
        return runs.filter(workflow__in=list(versions))

    def _chosen(self) -> dict[str, Any]:
        self.is_valid()
        return self.cleaned_data


def _midnight(day: dt.date) -> dt.datetime:
    """Return the beginning of a day in the user's time zone."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


def _people(scope: Scope) -> list[tuple[str, str]]:
    """Return the other members by email address, for those who see the runs of all."""
    if not scope.can("run.view_all"):
        return []
    members = scope.organisation.members.exclude(pk=scope.user.pk).order_by("email")
    return [(str(pk), email) for pk, email in members.values_list("pk", "email")[:MAX_PEOPLE]]


def _with_text(runs: "QuerySet[Run]", organisation: Organisation, text: str) -> "QuerySet[Run]":
    """Return the runs whose file name or name contains `text`.

    Where a page is soon found, the runs are read from the newest on. A text that few of the newest
    contain is looked up by its index: PostgreSQL would read all runs instead.
    """
    of_run = Q(submission__filename__icontains=text) | Q(submission__name__icontains=text)
    newest = runs.order_by("-created_at").values("submission")[:NEWEST]
    contain = Q(filename__icontains=text) | Q(name__icontains=text)
    if Submission.objects.filter(contain, pk__in=newest).count() > RUNS_PER_PAGE:
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
