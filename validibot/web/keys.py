"""The pages of API keys: those of a user, and the service keys of an organisation."""

import datetime as dt

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts import api_keys as keys
from validibot.accounts.models import ApiKey, KeyScope, Organisation, Role, User
from validibot.accounts.scope import Scope
from validibot.web.forms import LifetimeField, NameField, refusals_on, refusals_told
from validibot.web.scope import page, permitted

_OVERLAPS = {
    "0": gettext_lazy("ends now"),
    "1": gettext_lazy("works for 1 more day"),
    "7": gettext_lazy("works for 7 more days"),
    "30": gettext_lazy("works for 30 more days"),
}


class KeyForm(forms.Form):
    """A new API key."""

    name = NameField(
        label=gettext_lazy("What is it for?"),
        max_length=100,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Laptop")}),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        choices=[
            (KeyScope.READ, gettext_lazy("Read workflows, runs and results")),
            (KeyScope.LAUNCH, gettext_lazy("Start runs, follow and cancel them")),
            (KeyScope.MANAGE, gettext_lazy("Manage workflows, members and settings")),
        ],
        initial=[KeyScope.READ, KeyScope.LAUNCH],
        widget=forms.CheckboxSelectMultiple,
    )
    lifetime = LifetimeField(30, 90, 365, label=gettext_lazy("Expires after"), initial=365)


class ServiceKeyForm(KeyForm):
    """A new service key, which has a role of its own."""

    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        choices=[choice for choice in Role.choices if choice[0] != Role.OWNER],
        initial=Role.EXECUTOR,
    )


class RotationForm(forms.Form):
    """How long a replaced key goes on working."""

    overlap = forms.ChoiceField(choices=list(_OVERLAPS.items()))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def api_keys(request: HttpRequest) -> HttpResponse:
    """List the user's API keys; POST creates one and shows its text in this answer only."""
    assert isinstance(request.user, User)
    form = KeyForm(request.POST if request.method == "POST" else None)
    text = ""
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            _key, text = keys.issue_for_user(request.user, **form.cleaned_data)
            form = KeyForm()
    return _personal(request, form, text)


@login_required
@never_cache
@require_POST
def rotate_api_key(request: HttpRequest, pk: int) -> HttpResponse:
    """Replace an API key of the user; the answer shows the text of the new one."""
    assert isinstance(request.user, User)
    text = _rotated(request, request.user.api_keys.all(), pk)
    return _personal(request, KeyForm(), text) if text else redirect("api-keys")


@login_required
@require_POST
def revoke_api_key(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke an API key."""
    assert isinstance(request.user, User)
    _revoke(request, request.user.api_keys.all(), pk)
    return redirect("api-keys")


@permitted("key.manage")
@never_cache
@require_http_methods(["GET", "POST"])
def service_keys(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the service keys; POST creates one and shows its text in this answer only."""
    form = ServiceKeyForm(request.POST if request.method == "POST" else None)
    text = ""
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            _key, text = keys.issue_for_service(scope.organisation, **form.cleaned_data)
            form = ServiceKeyForm()
    return _of_organisation(request, scope, form, text)


@permitted("key.manage")
@never_cache
@require_POST
def rotate_service_key(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Replace a service key; the answer shows the text of the new one."""
    text = _rotated(request, keys.service_keys_of(scope.organisation), pk)
    if not text:
        return redirect("service-keys", scope.organisation.slug)
    return _of_organisation(request, scope, ServiceKeyForm(), text)


@permitted("key.manage")
@require_POST
def revoke_service_key(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Revoke a service key."""
    _revoke(request, keys.service_keys_of(scope.organisation), pk)
    return redirect("service-keys", scope.organisation.slug)


def _personal(request: HttpRequest, form: KeyForm, text: str) -> HttpResponse:
    assert isinstance(request.user, User)
    own = request.user.organisations.order_by("personal_owner", "name").first()
    context = {"form": form, "keys": request.user.api_keys.all(), "overlaps": _OVERLAPS}
    context |= _new_key(text, own)
    return render(request, "web/api_keys.html", context, status=422 if form.errors else 200)


def _of_organisation(request: HttpRequest, scope: Scope, form: KeyForm, text: str) -> HttpResponse:
    shown = keys.service_keys_of(scope.organisation).select_related("user")
    roles = dict(scope.organisation.memberships.values_list("user", "role"))
    for key in shown:
        key.role = Role(roles[key.user_id]).label if key.user_id in roles else ""  # type: ignore[attr-defined]
    context = {"form": form, "keys": shown, "overlaps": _OVERLAPS}
    context |= _new_key(text, scope.organisation)
    return page(request, scope, "service_keys.html", status=422 if form.errors else 200, **context)


def _new_key(text: str, organisation: Organisation | None) -> dict[str, str]:
    """Return the text of a new key, and commands that work when they are pasted into a shell."""
    if not text:
        return {}
    path = f"/api/v1/orgs/{organisation.slug}/workflows/" if organisation else "/api/v1/auth/me/"
    return {
        "text": text,
        "commands": f"export VALIDIBOT_API_URL={settings.SITE_URL}\nvalidibot login --token {text}",
        "request_command": f'curl -H "Authorization: Bearer {text}" {settings.SITE_URL}{path}',
    }


def _rotated(request: HttpRequest, of: QuerySet[ApiKey], pk: int) -> str:
    """Rotate one of the keys; return the new text, or nothing after telling why not."""
    get_object_or_404(of, pk=pk)
    form = RotationForm(request.POST)
    if not form.is_valid():
        known = ", ".join(_OVERLAPS)
        messages.error(request, _("overlap: choose one of %(known)s days.") % {"known": known})
        return ""
    with refusals_told(request):
        overlap = dt.timedelta(days=int(form.cleaned_data["overlap"]))
        _key, text = keys.rotate(of, pk, overlap=overlap)
        return text
    return ""


def _revoke(request: HttpRequest, of: QuerySet[ApiKey], pk: int) -> None:
    get_object_or_404(of, pk=pk)
    if keys.revoke(of, pk):
        messages.success(request, _("API key revoked."))
