"""The pages of projects: a list with a form for a new one, and one page to edit each."""

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts import projects as accounts_projects
from validibot.accounts.models import Project, ProjectColour
from validibot.accounts.scope import Scope
from validibot.web.forms import ColourSelect, NameField, refusals_on, refusals_told
from validibot.web.scope import page, permitted, require


class ProjectForm(forms.Form):
    """Name and colour of a project."""

    name = NameField(label=gettext_lazy("Name"))
    colour = forms.ChoiceField(
        label=gettext_lazy("Colour"),
        choices=ProjectColour.choices,
        initial=ProjectColour.TEAL,
        widget=ColourSelect,
    )


@permitted("member.view")
@require_http_methods(["GET", "POST"])
def projects(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the projects; POST creates one."""
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        require(scope, "project.manage")
        if form.is_valid():
            with refusals_on(form):
                made = accounts_projects.create(scope.organisation, **form.cleaned_data)
                messages.success(request, _("Project %(name)s created.") % {"name": made.name})
                return redirect("projects", scope.organisation.slug)
    return page(
        request,
        scope,
        "projects.html",
        status=422 if form.errors else 200,
        form=form,
        may_manage=scope.can("project.manage"),
        projects=scope.organisation.projects.annotate(
            workflow_count=Count("workflows__slug", distinct=True)
        ),
    )


@permitted("project.manage")
@require_http_methods(["GET", "POST"])
def project(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Show a project; POST renames it and gives it a colour."""
    found = _find(scope, pk)
    initial = {"name": found.name, "colour": found.colour}
    form = ProjectForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            accounts_projects.edit(found, **form.cleaned_data)
            messages.success(request, _("Project saved."))
            return redirect("projects", scope.organisation.slug)
    status = 422 if form.errors else 200
    return page(request, scope, "project.html", status=status, form=form, project=found)


@permitted("project.manage")
@require_POST
def make_default(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Make a project the default of the organisation."""
    found = _find(scope, pk)
    accounts_projects.make_default(found)
    message = _("New workflows now begin in %(name)s.") % {"name": found.name}
    messages.success(request, message)
    return redirect("projects", scope.organisation.slug)


@permitted("project.manage")
@require_POST
def delete(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Delete a project; its workflows and runs move to the default project."""
    found = _find(scope, pk)
    with refusals_told(request):
        default = accounts_projects.delete(found)
        messages.success(
            request,
            _("Project %(name)s deleted. Its workflows and runs are now in %(default)s.")
            % {"name": found.name, "default": default.name},
        )
    return redirect("projects", scope.organisation.slug)


def _find(scope: Scope, pk: int) -> Project:
    return get_object_or_404(scope.organisation.projects, pk=pk)
