"""The forms of custom validators: a registration, and the roles, secrets and samples of a version."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _, gettext_lazy

from validibot.web.forms import CodeArea
from validibot.workflows import custom_validators as service
from validibot.workflows.document import FILE_NAME, MAX_SAMPLES
from validibot.workflows.models import Validator
from validibot.workflows.validator_samples import MAX_BYTES
from validibot.workflows.validator_secrets import (
    MAX_REFERENCE_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    SecretSource,
)


class FilesInput(forms.FileInput):
    """A file input that takes several files."""

    allow_multiple_selected = True


class SampleFilesField(forms.FileField):
    """Files of samples; its value has their contents by name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=FilesInput, max_length=200, **options)

    def clean(self, data: Any, initial: Any = None) -> Mapping[str, bytes]:
        """Read the files. Raises ValidationError, before it reads anything, if they are too large."""
        sent = [each for each in data or () if each]
        files = [
            file for each in sent or [None] if (file := super(SampleFilesField, self).clean(each))
        ]
        for file in files:
            if not re.search(FILE_NAME, file.name):
                text = _("The name %s cannot be used. Rename the file to letters and digits.")
                raise ValidationError(text % repr(file.name[:80]))
        if len(files) > MAX_SAMPLES:
            text = _("%(count)d files were sent; a version has at most %(limit)d samples.")
            raise ValidationError(text % {"count": len(files), "limit": MAX_SAMPLES})
        size = sum(file.size for file in files)
        if size > MAX_BYTES:
            text = _(
                "The files have %(size)s bytes; the samples of a version have at most %(limit)s."
            )
            raise ValidationError(text % {"size": f"{size:,}", "limit": f"{MAX_BYTES:,}"})
        return {file.name: file.read() for file in files}


class SampleFilesForm(forms.Form):
    """The files of the samples of a version."""

    samples = SampleFilesField(label=gettext_lazy("Files"))


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

    field_order = ("manifest", "file", "samples", "image", "roles")

    manifest = forms.CharField(
        label=gettext_lazy("Manifest"),
        required=False,
        max_length=service.MAX_MANIFEST_CHARACTERS,
        widget=CodeArea(rows=14),
        help_text=gettext_lazy("The text of validator.toml."),
    )
    file = forms.FileField(label=gettext_lazy("Or its file"), required=False, max_length=255)
    samples = SampleFilesField(
        label=gettext_lazy("Files of its samples"),
        required=False,
        help_text=gettext_lazy(
            "Those that [[samples]] of the manifest names. They can be added later."
        ),
    )
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
