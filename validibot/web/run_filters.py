"""The filters above the list of runs."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation
from validibot.accounts.scope import Scope
from validibot.runs.models import Run
from validibot.runs.states import ErrorCategory, RunStatus
from validibot.submissions.models import Submission
from validibot.workflows.select import visible_projects, visible_workflows

# Submissions that are looked up before their runs.
FEW = 5_000
_RESULTS = (
    ("unfinished", _("Not finished")),
    ("pass", _("Passed")),
    ("fail", _("Failed")),
    ("error", _("Error")),
    ("canceled", _("Cancelled")),
    ("timed_out", _("Timed out")),
)

_LOOKUPS = {
    "source": "source",
    "after": "created_at__date__gte",
    "before": "created_at__date__lt",
}


class RunFilters(forms.Form):
    """Limits of the list of runs; a field that cannot be used is reported and left out."""

    text = forms.CharField(label=_("File or name"), max_length=200, required=False)
    workflow = forms.ChoiceField(label=_("Workflow"), required=False)
    project = forms.ChoiceField(label=_("Project"), required=False)
    result = forms.ChoiceField(
        label=_("Result"), choices=[("", _("Every result")), *_RESULTS], required=False
    )
    person = forms.ChoiceField(
        label=_("Started by"),
        choices=[("", _("Everybody")), ("me", _("Me"))],
        required=False,
    )
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

    @property
    def in_use(self) -> bool:
        """Whether any filter is set."""
        return any(self._chosen().values())

    def applied(self, runs: "QuerySet[Run]") -> "QuerySet[Run]":
        """Return the runs that the filters select."""
        chosen = self._chosen()
        if text := chosen.get("text"):
            runs = _with_text(runs, self._organisation, text)
        runs = self._of_versions(runs, chosen)
        for name, lookup in _LOOKUPS.items():
            if value := chosen.get(name):
                runs = runs.filter(**{lookup: value})
        if result := chosen.get("result"):
            runs = runs.filter(_with_result(result))
        if chosen.get("person"):
            runs = runs.filter(user=self._user)
        if not chosen.get("source"):
            runs = runs.exclude(source=Run.Source.TRIAL)
        return runs

    def _of_versions(self, runs: "QuerySet[Run]", chosen: dict[str, Any]) -> "QuerySet[Run]":
        for name, lookup in (("workflow", "slug"), ("project", "project__slug")):
            if value := chosen.get(name):
                # Keys, not a join: PostgreSQL then knows how many runs the workflows have.
                versions = self._organisation.workflows.filter(**{lookup: value}).values_list(
                    "pk", flat=True
                )
                runs = runs.filter(workflow__in=list(versions))
        return runs

    def _chosen(self) -> dict[str, Any]:
        self.is_valid()
        return self.cleaned_data


def _with_text(runs: "QuerySet[Run]", organisation: Organisation, text: str) -> "QuerySet[Run]":
    """Return the runs whose file name or name contains `text`.

    A text that few submissions contain is looked up by its index first: PostgreSQL would read all runs
    instead, from the newest on. Where many contain the text, that soon finds a page.
    """
    few = Submission.objects.filter(
        Q(filename__icontains=text) | Q(name__icontains=text), organisation=organisation
    )
    keys = list(few.values_list("pk", flat=True)[: FEW + 1])
    if len(keys) <= FEW:
        return runs.filter(submission__in=keys)
    return runs.filter(
        Q(submission__filename__icontains=text) | Q(submission__name__icontains=text)
    )


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
