"""The settings pages of custom validators: register a version, give it secrets, archive it, choose its users."""

from typing import Any

from django import forms
from django.conf import settings as django_settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts.scope import Scope
from validibot.runs.backends import get_backend
from validibot.runs.grants import refusals
from validibot.runs.registration import may_register, request_preparation
from validibot.web.forms import CodeArea, refusals_on
from validibot.web.scope import page, permitted
from validibot.workflows import custom_validators as service
from validibot.workflows.models import Validator
from validibot.workflows.validator_secrets import (
    MAX_REFERENCE_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    SecretSource,
    set_secrets,
)


class RolesForm(forms.Form):
    """The roles that may give a validator to steps."""

    roles = forms.MultipleChoiceField(
        label=gettext_lazy("Who may give it to steps"),
        choices=[(role.value, role.label) for role in service.author_roles()],
        initial=[role.value for role in service.author_roles()],
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Everybody who may start a workflow runs its steps."),
    )


class RegistrationForm(RolesForm):
    """A manifest, as text or as a file, and the image."""

    field_order = ("manifest", "file", "image", "roles")

    manifest = forms.CharField(
        label=gettext_lazy("Manifest"),
        required=False,
        max_length=service.MAX_MANIFEST_CHARACTERS,
        widget=CodeArea(rows=14),
        help_text=gettext_lazy("The text of validator.toml."),
    )
    file = forms.FileField(label=gettext_lazy("Or its file"), required=False, max_length=255)
    image = forms.CharField(
        label=gettext_lazy("Image"),
        max_length=300,
        help_text=gettext_lazy(
            "By digest, as in registry.example.org/team/name@sha256:…. The platform must be able to pull it."
        ),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if file := cleaned.get("file"):
            cleaned["manifest"] = _text_of(file)
        if not cleaned.get("manifest") and not self.errors:
            self.add_error("manifest", _("Paste the manifest, or choose its file."))
        return cleaned


class SecretsForm(forms.Form):
    """The secrets of a version, a field for each by its name: its value, or its reference.

    A value is written and never shown; `forget_<name>` removes one. A reference is shown, and an empty
    one removes it.
    """

    def __init__(self, *args: Any, validator: Validator, source: SecretSource) -> None:
        super().__init__(*args)
        self._source = source
        stored = {row.name: row for row in validator.secret_values.all()}
        for secret in validator.secrets:
            name, row = secret["name"], stored.get(secret["name"])
            label = f"{secret['title']} ({name})" if secret["title"] else name
            if source is SecretSource.SECRET_MANAGER:
                reference = row.reference if row else ""
                self.fields[name] = _reference_field(label, secret["description"], reference)
                continue
            number = row.number if row and row.sealed_value else 0
            self.fields[name] = _value_field(label, secret["description"], number)
            if number:
                text = _("Remove the stored value of %s") % name
                self.fields[f"forget_{name}"] = forms.BooleanField(label=text, required=False)
        self._names = [secret["name"] for secret in validator.secrets]

    @property
    def given(self) -> dict[str, str]:
        """The values or references that were entered, by name."""
        return {
            name: text
            for name in self._names
            if (text := self.cleaned_data[name]) and (name in self.changed_data)
        }

    @property
    def forgotten(self) -> list[str]:
        """The names of the secrets to remove."""
        if self._source is SecretSource.SECRET_MANAGER:
            return [name for name in self._names if not self.cleaned_data[name]]
        return [name for name in self._names if self.cleaned_data.get(f"forget_{name}")]


def _value_field(label: str, description: str, number: int) -> forms.CharField:
    state = (
        _("Value %s is stored and never shown. Empty: it stays.") % number
        if number
        else _("No value yet. It is stored encrypted and never shown.")
    )
    return forms.CharField(
        label=label,
        required=False,
        max_length=MAX_VALUE_CHARACTERS,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=f"{description} {state}".strip(),
    )


def _reference_field(label: str, description: str, reference: str) -> forms.CharField:
    text = _(
        "A version in Secret Manager, as in projects/%s/secrets/NAME/versions/1. The value stays there."
    )
    return forms.CharField(
        label=label,
        required=False,
        max_length=MAX_REFERENCE_CHARACTERS,
        initial=reference,
        widget=forms.TextInput(attrs={"class": "code", "spellcheck": "false"}),
        help_text=f"{description} {text % django_settings.GOOGLE_CLOUD_PROJECT}".strip(),
    )


def _text_of(file: Any) -> str:
    """Return the text of an uploaded manifest. Raises ValidationError."""
    limit = service.MAX_MANIFEST_CHARACTERS
    if (file.size or 0) > limit:
        text = _("%(name)s has %(size)s bytes; a manifest has at most %(limit)s.")
        sizes = {"name": file.name, "size": f"{file.size:,}", "limit": f"{limit:,}"}
        raise ValidationError({"file": text % sizes})
    try:
        content: str = file.read().decode()
    except UnicodeDecodeError:
        text = _("%s is not text in UTF-8. Choose the file validator.toml.")
        raise ValidationError({"file": text % file.name}) from None
    return content


@permitted("validator.manage")
@require_http_methods(["GET", "POST"])
def custom_validators(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the versions that the organisation registered; POST registers one."""
    sent = (request.POST, request.FILES) if request.method == "POST" else ()
    form, is_open = RegistrationForm(*sent), may_register()
    if request.method == "POST" and not is_open:
        form.add_error(None, _("This site takes no validators of organisations. Ask its operator."))
    elif request.method == "POST" and form.is_valid():
        with refusals_on(form):
            made = _register(scope, form.cleaned_data)
            text = _("%(name)s is registered. Its job is being prepared.")
            if made.secrets:
                text = _("%(name)s is registered. Enter its secrets.")
            messages.success(request, text % {"name": made})
            return redirect("custom-validator", scope.organisation.slug, made.pk)
    return page(
        request,
        scope,
        "custom_validators.html",
        status=422 if form.errors else 200,
        form=form,
        is_open=is_open,
        validators=scope.organisation.custom_validators.order_by("slug", "-pk"),
    )


@transaction.atomic
def _register(scope: Scope, sent: dict[str, Any]) -> Validator:
    made = service.register(
        scope.organisation,
        manifest=sent["manifest"],
        image=sent["image"].strip(),
        roles=sent["roles"],
        refusals=refusals,
    )
    request_preparation(made)
    return made


@permitted("validator.manage")
@require_http_methods(["GET", "POST"])
def custom_validator(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Show the state of a version; POST says who may use the validator."""
    found = _find(scope, pk)
    form = _roles_form(found, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        service.set_roles(found, form.cleaned_data["roles"])
        messages.success(request, _("Saved for all versions of this validator."))
        return redirect("custom-validator", scope.organisation.slug, pk)
    return _version_page(request, scope, found, form=form)


@permitted("validator.manage")
@sensitive_post_parameters()
@require_POST
def validator_secrets(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Store and remove secrets of a version."""
    found, source = _find(scope, pk), get_backend().secret_source
    form = SecretsForm(request.POST, validator=found, source=source)
    if form.is_valid():
        with refusals_on(form), transaction.atomic():
            changed = set_secrets(found, form.given, forget=form.forgotten, source=source)
            if changed:
                request_preparation(found)
            messages.success(request, _("Secrets saved.") if changed else _("Nothing changed."))
            return redirect("custom-validator", scope.organisation.slug, pk)
    return _version_page(request, scope, found, secrets_form=form)


def _version_page(
    request: HttpRequest,
    scope: Scope,
    found: Validator,
    *,
    form: RolesForm | None = None,
    secrets_form: SecretsForm | None = None,
) -> HttpResponse:
    """Return the page of a version, with the form that was refused, if there is one."""
    source = get_backend().secret_source
    forms_shown = {
        "form": form or _roles_form(found),
        "secrets_form": secrets_form or SecretsForm(validator=found, source=source),
    }
    return page(
        request,
        scope,
        "custom_validator.html",
        status=422 if any(each.errors for each in forms_shown.values()) else 200,
        validator=found,
        workflow_count=found.steps.values("workflow__slug").distinct().count(),
        **forms_shown,
    )


def _roles_form(found: Validator, posted: Any = None) -> RolesForm:
    roles = found.roles or [role.value for role in service.author_roles()]
    return RolesForm(posted, initial={"roles": roles})


@permitted("validator.manage")
@require_POST
def archive_validator(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Archive a version, or take an archived one back, as `state` says."""
    found, state = _find(scope, pk), request.POST.get("state", "")
    if state in ("archive", "restore"):
        archived = state == "archive"
        service.set_archived(found, archived=archived)
        text = _("%s is archived. Steps that have it keep it.") if archived else _("%s is back.")
        messages.success(request, text % found)
    else:
        messages.error(request, _("Choose whether to archive the version or to take it back."))
    return redirect("custom-validator", scope.organisation.slug, pk)


@permitted("validator.manage")
@require_POST
def prepare_again(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Have the job of a version made again that was refused or got lost."""
    found = _find(scope, pk)
    request_preparation(found)
    messages.success(request, _("The job is being prepared."))
    return redirect("custom-validator", scope.organisation.slug, pk)


def _find(scope: Scope, pk: int) -> Validator:
    """Return a validator of the organisation. Raises Http404."""
    found: Validator = get_object_or_404(scope.organisation.custom_validators, pk=pk)
    return found
