"""Saved views of the list of runs: filters with a name, for the user who saved them."""

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_POST

from validibot.accounts.scope import Scope
from validibot.runs.models import SavedView
from validibot.web.parameters import positive_number
from validibot.web.run_filters import RunFilters
from validibot.web.scope import permitted

# Of one user in one organisation.
MAX_VIEWS = 30
MAX_QUERY = 1000


class SavedViewForm(forms.Form):
    """The name of a view, and the query of the list that it keeps."""

    name = forms.CharField(label=gettext_lazy("Name of the view"), max_length=60)
    query = forms.CharField(max_length=5000, widget=forms.HiddenInput)


def views_of(scope: Scope) -> list[SavedView]:
    """Return the views that the user saved in the organisation."""
    return list(SavedView.objects.filter(organisation=scope.organisation, user=scope.user))


@permitted("run.view_own")
@require_POST
def save_view(request: HttpRequest, scope: Scope) -> HttpResponseBase:
    """Save the filters of the list under a name; a view of this name is replaced."""
    form = SavedViewForm(request.POST)
    query = _normalised(form.cleaned_data["query"], scope) if form.is_valid() else ""
    if len(query) > MAX_QUERY:
        messages.error(request, _("These filters are too long to be saved. Shorten their text."))
        return redirect("runs", scope.organisation.slug)
    if not query:
        messages.error(
            request, _("Give the view a name of at most 60 characters, and set a filter.")
        )
        return redirect("runs", scope.organisation.slug)
    name = form.cleaned_data["name"]
    views = SavedView.objects.filter(organisation=scope.organisation, user=scope.user)
    if not views.filter(name=name).exists() and views.count() >= MAX_VIEWS:
        text = _("You have %(count)d saved views. Delete one of them first.") % {"count": MAX_VIEWS}
        messages.error(request, text)
        return redirect("runs", scope.organisation.slug)
    SavedView.objects.update_or_create(
        organisation=scope.organisation, user=scope.user, name=name, defaults={"query": query}
    )
    answer = redirect("runs", scope.organisation.slug)
    answer["Location"] += f"?{query}"
    return answer


@permitted("run.view_own")
@require_POST
def delete_view(request: HttpRequest, scope: Scope) -> HttpResponseBase:
    """Delete the view `id` of the user; one that is gone, or somebody else's, changes nothing."""
    own = SavedView.objects.filter(organisation=scope.organisation, user=scope.user)
    own.filter(pk=positive_number(request.POST.get("id", ""))).delete()
    return redirect("runs", scope.organisation.slug)


def _normalised(query: str, scope: Scope) -> str:
    """Return the filters of a query that the list knows and that are set, as a query."""
    sent = QueryDict(query)
    filters = RunFilters(sent, scope=scope)
    filters.is_valid()
    chosen = {name: sent.get(name, "") for name in filters.fields if filters.cleaned_data.get(name)}
    return urlencode(chosen)
