"""The pages of an organisation itself: creation, general settings, roles, leaving and deletion.

The start page of a user leads to one of the user's organisations.
"""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts import members, workspaces
from validibot.accounts.models import Organisation, Role, User
from validibot.accounts.regions import offered_regions
from validibot.accounts.scope import (
    GUEST_PERMISSIONS,
    PERMISSION_TEXTS,
    PERMISSIONS,
    Scope,
    organisations_of,
)
from validibot.runs.deletion import extent_of, request_deletion
from validibot.web.forms import NameField, refusals_on, refusals_told
from validibot.web.scope import page, permitted, require


class NewOrganisationForm(forms.Form):
    """The name of a new organisation."""

    name = NameField(
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("A company, a team or a project group."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )


class OrganisationForm(forms.Form):
    """The name and the data region of an organisation."""

    name = NameField(label=gettext_lazy("Name"))
    data_region = forms.ChoiceField(
        label=gettext_lazy("Data region"),
        help_text=gettext_lazy("Where files and results are kept. Fixed by the first run."),
    )

    def __init__(self, *args: object, organisation: Organisation) -> None:
        initial = {"name": organisation.name, "data_region": organisation.data_region}
        super().__init__(*args, initial=initial)  # type: ignore[arg-type, misc]
        region = self.fields["data_region"]
        assert isinstance(region, forms.ChoiceField)
        region.choices = list(offered_regions().items())
        if organisation.data_region not in offered_regions():
            region.choices.append((organisation.data_region, organisation.data_region))
        region.disabled = len(region.choices) == 1 or workspaces.has_runs(organisation)


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Redirect to a shared organisation of the user, else to the personal workspace."""
    assert isinstance(request.user, User)
    mine = organisations_of(request.user)
    shared = mine.filter(personal_owner=None).order_by("name").first()
    organisation = shared or mine.first() or workspaces.ensure_personal_workspace(request.user)
    return redirect("workflows", organisation.slug)


@login_required
@require_http_methods(["GET", "POST"])
def organisations(request: HttpRequest) -> HttpResponse:
    """List the organisations of the user; POST creates one."""
    assert isinstance(request.user, User)
    form = NewOrganisationForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            made = workspaces.create_organisation(request.user, form.cleaned_data["name"])
            messages.success(
                request, _("%(name)s created. Invite its members.") % {"name": made.name}
            )
            return redirect("members", made.slug)
    roles = dict(request.user.memberships.values_list("organisation", "role"))
    rows = [
        (each, Role(roles[each.pk]).label if each.pk in roles else _("Guest"))
        for each in organisations_of(request.user).order_by("name")
        if each.pk in roles or not request.user.is_superuser
    ]
    context = {"form": form, "rows": rows}
    return render(request, "web/organisations.html", context, status=422 if form.errors else 200)


@permitted("member.view")
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the general settings; POST renames the organisation and chooses its data region."""
    organisation = scope.organisation
    form = OrganisationForm(
        request.POST if request.method == "POST" else None, organisation=organisation
    )
    if request.method == "POST":
        require(scope, "organisation.manage")
        if form.is_valid():
            with refusals_on(form), transaction.atomic():
                workspaces.set_data_region(organisation, form.cleaned_data["data_region"])
                workspaces.rename(organisation, form.cleaned_data["name"])
                messages.success(request, _("Settings saved."))
                return redirect("organisation-settings", organisation.slug)
    may_manage = scope.can("organisation.manage")
    return page(
        request,
        scope,
        "organisation_settings.html",
        status=422 if form.errors else 200,
        form=form,
        may_manage=may_manage,
        is_personal=organisation.personal_owner_id is not None,
        is_member=organisation.memberships.filter(user=scope.user).exists(),
        extent=extent_of(organisation).lines() if may_manage else [],
    )


@permitted("member.view")
@require_POST
def leave(request: HttpRequest, scope: Scope) -> HttpResponse:
    """End the membership of the user; the last owner stays."""
    with refusals_told(request):
        members.leave(scope)
        messages.success(request, _("You left %(name)s.") % {"name": scope.organisation.name})
        return redirect("home")
    return redirect("organisation-settings", scope.organisation.slug)


@permitted("organisation.manage")
@require_POST
def delete(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Delete the organisation if its name was typed."""
    organisation = scope.organisation
    settings_page = redirect("organisation-settings", organisation.slug)
    if organisation.personal_owner_id:
        messages.error(request, _("A personal workspace is deleted together with its account."))
        return settings_page
    typed = request.POST.get("confirmation", "").strip()
    if typed != organisation.name:
        messages.error(
            request,
            _("confirmation: %(typed)s is not the name of the organisation. Type %(name)s.")
            % {"typed": repr(typed[:150]), "name": organisation.name},
        )
        return settings_page
    with transaction.atomic():
        if Organisation.locked(organisation.pk).deletion_requested_at is None:
            request_deletion(organisation)
    messages.success(
        request,
        _("%(name)s is being deleted: its runs end now, its data is removed within minutes.")
        % {"name": organisation.name},
    )
    return redirect("home")


@permitted("member.view")
@require_GET
def roles(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show what each role may do."""
    return page(request, scope, "roles.html", roles=list(Role), table=role_table(), mine=scope.role)


def role_table() -> list[tuple[str, list[bool]]]:
    """Return the text of each permission with whether each role, and a guest, has it."""
    holders = [*PERMISSIONS.values(), GUEST_PERMISSIONS]
    return [
        (str(text), [permission in has for has in holders])
        for permission, text in PERMISSION_TEXTS.items()
    ]
