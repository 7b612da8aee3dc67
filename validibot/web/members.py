"""The pages of members, invitations and guests of an organisation, and of an invitation itself."""

from collections.abc import Mapping

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts import guests as accounts_guests, invitations, members as accounts_members
from validibot.accounts.models import GrantAccess, Invitation, Role, User
from validibot.accounts.scope import Scope
from validibot.accounts.sign_up import remember_invitation
from validibot.web.forms import refusals_on, refusals_told
from validibot.web.scope import page, permitted, require
from validibot.workflows.models import Workflow, latest_versions


class InvitationForm(forms.Form):
    """An address and the role that it is invited for."""

    email = forms.EmailField(
        label=gettext_lazy("Email address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(label=gettext_lazy("Role"), initial=Role.AUTHOR)

    def __init__(self, *args: Mapping[str, object] | None, roles: list[Role]) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        role = self.fields["role"]
        assert isinstance(role, forms.ChoiceField)
        role.choices = [(each.value, each.label) for each in roles]


class GuestForm(forms.Form):
    """An address and the workflows that it is invited to."""

    email = forms.EmailField(
        label=gettext_lazy("Email address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    workflows = forms.MultipleChoiceField(
        label=gettext_lazy("Workflows"), widget=forms.CheckboxSelectMultiple
    )
    access = forms.ChoiceField(label=gettext_lazy("Access"), choices=GrantAccess.choices)

    def __init__(self, *args: Mapping[str, object] | None, workflows: list[Workflow]) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        field = self.fields["workflows"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(each.slug, each.name) for each in workflows]


class GrantsForm(forms.Form):
    """The access of a guest to each workflow."""

    def __init__(
        self,
        *args: Mapping[str, object] | None,
        workflows: list[Workflow],
        access: Mapping[str, str],
    ) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        for each in workflows:
            self.fields[each.slug] = forms.ChoiceField(
                label=each.name,
                choices=[("", _("No access")), *GrantAccess.choices],
                initial=access.get(each.slug, ""),
                required=False,
            )

    def access(self) -> dict[str, str]:
        return {slug: kind for slug, kind in self.cleaned_data.items() if kind}


@permitted("member.view")
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List members and open invitations; POST invites somebody."""
    may_manage = scope.can("member.manage")
    assignable = accounts_members.assignable_roles(scope)
    form = InvitationForm(request.POST if request.method == "POST" else None, roles=assignable)
    if request.method == "POST":
        require(scope, "member.manage")
        if form.is_valid():
            with refusals_on(form):
                invitation = invitations.invite(
                    scope, form.cleaned_data["email"], role=form.cleaned_data["role"]
                )
                return _invited(request, invitation, "members")
    return page(
        request,
        scope,
        "members.html",
        status=422 if form.errors else 200,
        form=form,
        may_manage=may_manage,
        members=accounts_members.members_of(scope.organisation),
        assignable=assignable,
        is_personal=scope.organisation.personal_owner_id is not None,
        invitations=_described(_open(scope).exclude(role=""), {}) if may_manage else [],
    )


@permitted("member.manage")
@require_POST
def change_role(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Give a member another role."""
    with refusals_told(request):
        changed = accounts_members.change_role(scope, pk, request.POST.get("role", ""))
        messages.success(
            request,
            _("%(user)s is now: %(role)s.")
            % {"user": changed.user.get_full_name(), "role": Role(changed.role).label},
        )
    return redirect("members", scope.organisation.slug)


@permitted("member.manage")
@require_POST
def remove(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Remove a member."""
    with refusals_told(request):
        user = accounts_members.remove(scope, pk)
        messages.success(request, _("%(user)s removed.") % {"user": user.get_full_name()})
        if user == scope.user:
            return redirect("home")
    return redirect("members", scope.organisation.slug)


@permitted("member.manage")
@require_POST
def resend(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Send the mail of an invitation again, with a new link."""
    invitation = get_object_or_404(_open(scope), pk=pk)
    with refusals_told(request):
        return _invited(request, invitations.resend(scope, pk), _list_of(invitation))
    return redirect(_list_of(invitation), scope.organisation.slug)


@permitted("member.manage")
@require_POST
def revoke(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """End an open invitation."""
    invitation = get_object_or_404(_open(scope), pk=pk)
    with refusals_told(request):
        invitations.revoke(scope, pk)
        messages.success(
            request, _("Invitation of %(email)s revoked.") % {"email": invitation.email}
        )
    return redirect(_list_of(invitation), scope.organisation.slug)


@permitted("member.manage")
@require_http_methods(["GET", "POST"])
def guests(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List guests with what they see; POST invites one."""
    workflows = _workflows(scope)
    form = GuestForm(request.POST if request.method == "POST" else None, workflows=workflows)
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            wanted = form.cleaned_data
            invitation = invitations.invite(
                scope, wanted["email"], workflows=wanted["workflows"], access=wanted["access"]
            )
            return _invited(request, invitation, "guests")
    names = {each.slug: each.name for each in workflows}
    return page(
        request,
        scope,
        "guests.html",
        status=422 if form.errors else 200,
        form=form,
        workflows=workflows,
        guests=[
            (each.user, [_granted(grant.workflow, grant.access, names) for grant in each.grants])
            for each in accounts_guests.guests_of(scope.organisation)
        ],
        invitations=_described(_open(scope).filter(role=""), names),
    )


@permitted("member.manage")
@require_http_methods(["GET", "POST"])
def guest(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Show what a guest may do; POST changes it."""
    user = _guest(scope, pk)
    access = dict(scope.organisation.grants.filter(user=user).values_list("workflow", "access"))
    form = GrantsForm(
        request.POST if request.method == "POST" else None,
        workflows=_workflows(scope),
        access=access,
    )
    if request.method == "POST" and form.is_valid():
        accounts_guests.set_grants(scope.organisation, user, form.access())
        messages.success(request, _("Access of %(user)s saved.") % {"user": user.email})
        return redirect("guests", scope.organisation.slug)
    status = 422 if form.errors else 200
    return page(request, scope, "guest.html", status=status, form=form, guest=user)


@permitted("member.manage")
@require_POST
def remove_guest(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """End all grants of a guest."""
    user = _guest(scope, pk)
    accounts_guests.set_grants(scope.organisation, user, {})
    messages.success(request, _("%(user)s removed.") % {"user": user.email})
    return redirect("guests", scope.organisation.slug)


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show an invitation to anybody who has its link; POST accepts it for the user.

    A GET changes nothing: programs open the links of mails to look at them.
    """
    found = invitations.find(token)
    if found is None:
        return render(request, "web/invitation_closed.html", {}, status=404)
    if not found.is_open or found.organisation.deletion_requested_at:
        return _closed(request, found)
    user = request.user if isinstance(request.user, User) else None
    fits = user is not None and invitations.is_addressed_to(found, user)
    if request.method == "POST" and user and fits:
        with refusals_told(request):
            organisation = invitations.accept(found, user)
            messages.success(request, _("Welcome to %(name)s.") % {"name": organisation.name})
            return redirect("workflows", organisation.slug)
        return redirect("invitation", token)
    if user is None:
        # The link may have been forwarded, so a new account verifies the invited address by a mail.
        remember_invitation(request, found.email, path=request.path)
    rows = found.organisation.workflows.filter(slug__in=found.workflows).order_by("version")
    names = dict(rows.values_list("slug", "name"))  # those of the newest versions
    workflows = [names.get(slug, slug) for slug in found.workflows]
    context = {"invitation": found, "role": _role(found), "fits": fits, "workflows": workflows}
    return render(request, "web/invitation.html", context)


def _closed(request: HttpRequest, found: Invitation) -> HttpResponse:
    """Tell why an invitation cannot be accepted; who accepted it is led to the organisation."""
    if found.accepted_by_id and found.accepted_by_id == request.user.pk:
        return redirect("workflows", found.organisation.slug)
    return render(request, "web/invitation_closed.html", {"invitation": found}, status=410)


def _invited(request: HttpRequest, invitation: Invitation, route: str) -> HttpResponse:
    days = invitations.LIFETIME.days
    message = _("Invitation sent to %(email)s. The link works for %(days)d days.")
    messages.success(request, message % {"email": invitation.email, "days": days})
    return redirect(route, invitation.organisation.slug)


def _list_of(invitation: Invitation) -> str:
    return "members" if invitation.role else "guests"


def _role(invitation: Invitation) -> str:
    return str(Role(invitation.role).label) if invitation.role else ""


def _described(
    rows: QuerySet[Invitation], names: Mapping[str, str]
) -> list[tuple[Invitation, list[str]]]:
    """Return the invitations, each with the role or the workflows that it is for.

    `names` are those of the workflows by slug; a workflow that was deleted has its slug only.
    """
    return [
        (each, [_granted(slug, each.access, names) for slug in each.workflows] or [_role(each)])
        for each in rows
    ]


def _granted(slug: str, access: str, names: Mapping[str, str]) -> str:
    return f"{names.get(slug, slug)} ({GrantAccess(access).label})"


def _open(scope: Scope) -> QuerySet[Invitation]:
    return scope.organisation.invitations.filter(accepted_at=None, revoked_at=None)


def _guest(scope: Scope, pk: int) -> User:
    return get_object_or_404(
        User.objects.filter(grants__organisation=scope.organisation).distinct(), pk=pk
    )


def _workflows(scope: Scope) -> list[Workflow]:
    """Return the newest version of each workflow, active or not."""
    return list(latest_versions(Workflow.objects.filter(organisation=scope.organisation)))
