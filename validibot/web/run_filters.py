"""The filters above the list of runs."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from validibot.accounts.scope import Scope
from validibot.runs.filters import RESULTS, RunSelection
from validibot.runs.models import Run
from validibot.workflows.select import visible_projects, visible_workflows

# People that the form offers.
MAX_PEOPLE = 500


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
        label=_("Result"), choices=[("", _("Every result")), *RESULTS], required=False
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

    @property
    def selection(self) -> RunSelection:
        """The runs that the filters select; days begin in the user's time zone."""
        chosen = {name: value for name, value in self._chosen().items() if value}
        if person := chosen.pop("person", ""):
            chosen["user_id"] = self._user.pk if person == "me" else int(person)
        for name in {"after", "before"} & chosen.keys():
            chosen[name] = timezone.make_aware(dt.datetime.combine(chosen[name], dt.time()))
        return RunSelection(**chosen)

    def _chosen(self) -> dict[str, Any]:
        self.is_valid()
        return self.cleaned_data


def _people(scope: Scope) -> list[tuple[str, str]]:
    """Return the other members by email address, for those who see the runs of all."""
    if not scope.can("run.view_all"):
        return []
    members = scope.organisation.members.exclude(pk=scope.user.pk).order_by("email")
    return [(str(pk), email) for pk, email in members.values_list("pk", "email")[:MAX_PEOPLE]]
