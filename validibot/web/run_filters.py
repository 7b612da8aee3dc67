"""The filters above the list of runs."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from validibot.accounts.scope import Scope
from validibot.runs.models import Run
from validibot.runs.states import ErrorCategory, RunStatus
from validibot.workflows.select import visible_projects, visible_workflows

_RESULTS = (
    ("unfinished", _("Not finished")),
    ("pass", _("Passed")),
    ("fail", _("Failed")),
    ("error", _("Error")),
    ("canceled", _("Cancelled")),
    ("timed_out", _("Timed out")),
)

_LOOKUPS = {
    "workflow": "workflow__slug",
    "project": "workflow__project__slug",
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
            runs = runs.filter(
                Q(submission__filename__icontains=text) | Q(submission__name__icontains=text)
            )
        for name, lookup in _LOOKUPS.items():
            if value := chosen.get(name):
                runs = runs.filter(**{lookup: value})
        if result := chosen.get("result"):
            runs = runs.filter(_with_result(result))
        if chosen.get("person"):
            runs = runs.filter(user=self._user)
        return runs

    def _chosen(self) -> dict[str, Any]:
        self.is_valid()
        return self.cleaned_data


def _with_result(result: str) -> Q:
    """Return the condition for a result as the pages name it (see `states.public_result`)."""
    failed = Q(status=RunStatus.FAILED)
    late = Q(error_category=ErrorCategory.TIMEOUT)
    judged = Q(error_category=ErrorCategory.VALIDATION_FAILED)
    conditions = {
        "unfinished": Q(status__in=(RunStatus.PENDING, RunStatus.RUNNING)),
        "pass": Q(status=RunStatus.SUCCEEDED),
        "fail": failed & judged,
        "error": failed & ~judged & ~late,
        "canceled": Q(status=RunStatus.CANCELED),
        "timed_out": Q(status=RunStatus.TIMED_OUT) | (failed & late),
    }
    return conditions[result]
