"""Forms of a workflow: its texts, its constants, and the upload of a workflow file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import FileExtensionValidator
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation, Project
from validibot.accounts.projects import default_project
from validibot.core.echo import echo
from validibot.web.forms import CodeArea, NameField
from validibot.workflows import checks
from validibot.workflows.importing import MAX_IMPORT_BYTES
from validibot.workflows.inputs import check_input_schema
from validibot.workflows.models import MAX_RETENTION_DAYS, Workflow

MAX_CONSTANTS = 200


class RevisionForm(forms.Form):
    """A form that knows which state of the workflow its author saw."""

    token = forms.CharField(widget=forms.HiddenInput, required=False, max_length=40)


class WorkflowForm(RevisionForm):
    """The texts and properties of a workflow; the model checks them once more."""

    name = NameField(label=_("Name"))
    slug = forms.SlugField(
        label=_("Slug"),
        max_length=60,
        required=False,
        help_text=_("Names the workflow in addresses and in the API. Empty: made from the name."),
    )
    project = forms.ModelChoiceField(
        label=_("Project"), queryset=Project.objects.none(), required=False
    )
    description = forms.CharField(
        label=_("Description"), required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    success_message = forms.CharField(
        label=_("Message of a passed run"), required=False, max_length=2000
    )
    accepted_types = forms.CharField(
        label=_("Accepted file types"),
        required=False,
        max_length=500,
        help_text=_("Such as .json, .xml. Empty: the types that the first step accepts."),
    )

    input_schema = forms.CharField(
        label=_("Inputs of a run"),
        required=False,
        strip=False,
        widget=CodeArea(rows=6),
        help_text=_(
            'A JSON Schema, such as {"type": "object", "properties": {"area": {"type": "number"}},'
            ' "required": ["area"]}. The form of a launch is made from it; expressions use i.area.'
        ),
        validators=[check_input_schema],
    )

    input_retention_days = forms.IntegerField(
        label=_("Days for which submitted files are kept"),
        required=False,
        min_value=1,
        max_value=MAX_RETENTION_DAYS,
        help_text=_("After the end of a run. Empty: as long as the site keeps its results."),
    )
    result_retention_days = forms.IntegerField(
        label=_("Days for which runs and their results are kept"),
        required=False,
        min_value=1,
        max_value=MAX_RETENTION_DAYS,
        help_text=_("After the end of a run. Empty: as long as the site keeps them."),
    )

    def __init__(self, organisation: Organisation, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        projects = Project.objects.filter(organisation=organisation).order_by("name")
        self.fields["project"].queryset = projects  # type: ignore[attr-defined]
        self.fields["project"].initial = default_project(organisation)

    @staticmethod
    def values_of(workflow: Workflow) -> dict[str, Any]:
        """Return the initial values of the form for a workflow."""
        texts = ("name", "slug", "project", "description", "success_message", "input_schema")
        names = (*texts, *Workflow.SHARED_PROPERTIES)
        values = {name: getattr(workflow, name) for name in names}
        return values | {"accepted_types": ", ".join(workflow.accepted_types)}

    def clean_accepted_types(self) -> list[str]:
        listed = self.cleaned_data["accepted_types"].replace(",", " ").lower().split()
        types = [each if each.startswith(".") else f".{each}" for each in dict.fromkeys(listed)]
        checks.check_extensions(types)
        return types

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("slug") and cleaned.get("name"):
            cleaned["slug"] = slugify(cleaned["name"])[:60]
            if not cleaned["slug"]:
                self.add_error("slug", _("Type a slug: none can be made from the name."))
        return cleaned


class ConstantForm(forms.Form):
    """A constant; the text of its value is read as its type says."""

    name = forms.CharField(label=_("Name"), max_length=60)
    data_type = forms.ChoiceField(
        label=_("Type"),
        choices=[
            ("NUMBER", _("Number")),
            ("STRING", _("Text")),
            ("BOOLEAN", _("True or false")),
            ("LIST", _("List (JSON)")),
            ("OBJECT", _("Object (JSON)")),
        ],
    )
    value = forms.CharField(label=_("Value"), required=False, max_length=20_000, strip=False)
    description = forms.CharField(label=_("Description"), required=False, max_length=300)

    @staticmethod
    def values_of(constant: Mapping[str, Any]) -> dict[str, Any]:
        value = constant["value"]
        kind = constant.get("data_type") or _type_of(value)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return {
            "name": constant["name"],
            "data_type": kind,
            "value": text,
            "description": constant.get("description", ""),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "value" in cleaned and "data_type" in cleaned:
            try:
                cleaned["value"] = _read_value(cleaned["value"], cleaned["data_type"])
            except ValueError as error:
                self.add_error("value", str(error))
        return cleaned


class BaseConstants(forms.BaseFormSet[ConstantForm]):
    """The rows of constants, which must have names of their own."""

    def clean(self) -> None:
        if self.is_valid():
            checks.check_constants(self.constants())

    def constants(self) -> list[dict[str, Any]]:
        names = ("name", "data_type", "value", "description")
        return [
            {name: form.cleaned_data[name] for name in names if form.cleaned_data[name] != ""}
            | {"value": form.cleaned_data["value"]}
            for form in self.ordered_forms
            if form.cleaned_data.get("name")
        ]


ConstantFormSet = forms.formset_factory(
    ConstantForm,
    formset=BaseConstants,
    extra=0,
    can_delete=True,
    can_order=True,
    max_num=MAX_CONSTANTS,
    absolute_max=MAX_CONSTANTS + 50,
)


class ImportForm(forms.Form):
    """A workflow file: uploaded or pasted."""

    file = forms.FileField(
        label=_("File"),
        required=False,
        max_length=255,
        validators=[FileExtensionValidator(["yaml", "yml", "zip", "json"])],
        help_text=_("A text (.yaml) or a bundle (.zip)."),
    )
    text = forms.CharField(label=_("Or paste the text"), required=False, widget=CodeArea(rows=14))
    update = forms.BooleanField(
        label=_("Update the workflow if its slug exists already"), required=False
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        file, text = cleaned.get("file"), cleaned.get("text", "")
        if file and file.size > MAX_IMPORT_BYTES:
            message = _("%(name)s has %(size)s bytes; at most %(limit)s are imported.") % {
                "name": file.name,
                "size": f"{file.size:,}",
                "limit": f"{MAX_IMPORT_BYTES:,}",
            }
            self.add_error("file", message)
        elif not self.errors and bool(file) == bool(text):
            raise ValidationError(_("Choose a file or paste its text, one of the two."))
        return cleaned

    def content(self) -> bytes:
        """Return the bytes to import."""
        file = self.cleaned_data["file"]
        content: bytes = file.read() if file else self.cleaned_data["text"].encode()
        return content


def constant_rows(constants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the initial values of the rows of constants."""
    return [ConstantForm.values_of(each) for each in constants]


def _type_of(value: Any) -> str:
    match value:
        case bool():
            return "BOOLEAN"
        case int() | float():
            return "NUMBER"
        case list():
            return "LIST"
        case dict():
            return "OBJECT"
    return "STRING"


def _read_value(text: str, kind: str) -> Any:
    """Return the value that a text means. Raises ValueError."""
    if kind == "STRING":
        return text
    try:
        value = json.loads(text.strip().lower() if kind == "BOOLEAN" else text, parse_constant=_no)
    except (ValueError, RecursionError):
        value = None
    if _type_of(value) != kind or value is None:
        examples = {"NUMBER": "12.5", "BOOLEAN": "true", "LIST": "[1, 2]", "OBJECT": '{"a": 1}'}
        raise ValueError(f"{echo(text)} is no value of this type. Example: {examples[kind]}")
    return value


def _no(name: str) -> Any:
    raise ValueError(name)
