"""Fields of settings: the field of each kind, the text of a stored value, and the value of a text."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from validibot.engines import BadDocument
from validibot.engines.yaml_text import parse_yaml
from validibot.web.editor.config_schema import Setting, SettingKind
from validibot.web.forms import CodeArea
from validibot.workflows.yaml_writer import write_yaml

ABSENT: Any = object()
"""The value of a setting that is not given."""


def names_attributes(names: str) -> dict[str, str]:
    """Return the attributes of a field in which the page completes names (see `Setting.names`)."""
    return {"data-names": names, "autocomplete": "off"} if names else {}


def field_of(setting: Setting) -> forms.Field:
    label = f"{setting.group}: {setting.label}" if setting.group else setting.label
    common: dict[str, Any] = {
        "label": label,
        "help_text": setting.hint,
        "required": setting.is_required,
    }
    field: forms.Field
    match setting.kind:
        case SettingKind.INTEGER | SettingKind.NUMBER:
            field = _number_field(setting, common)
        case SettingKind.BOOLEAN:
            field = forms.BooleanField(**common | {"required": False})
        case SettingKind.CHOICE | SettingKind.CHOICES:
            field = _choice_field(setting, common)
        case SettingKind.LINES:
            for_each = _("One for each line.")
            common["help_text"] = f"{common['help_text']} {for_each}".strip()
            rows = {"rows": "3"} | names_attributes(setting.names)
            field = forms.CharField(widget=forms.Textarea(attrs=rows), **common)
        case SettingKind.CODE:
            field = forms.CharField(widget=SourceArea(rows=14), strip=False, **common)
        case SettingKind.YAML:
            field = YamlField(widget=CodeArea(rows=6), **common)
        case SettingKind.VALUE:
            field = YamlField(**common)
        case _:
            widget = forms.TextInput(names_attributes(setting.names))
            field = forms.CharField(
                widget=widget, strip=False, max_length=setting.max_length, **common
            )
    # A new row shows the defaults, so that what is left as it is means the default.
    field.initial = initial_of(setting, ABSENT)
    return field


def _choice_field(setting: Setting, common: dict[str, Any]) -> forms.Field:
    if setting.kind is SettingKind.CHOICES:
        widget = forms.CheckboxSelectMultiple
        return forms.MultipleChoiceField(choices=setting.choices, widget=widget, **common)
    blank = [] if setting.is_required or setting.default else [("", "-")]
    return forms.ChoiceField(choices=[*blank, *setting.choices], **common)


def _number_field(setting: Setting, common: dict[str, Any]) -> forms.Field:
    bounds: dict[str, Any] = {"min_value": setting.minimum, "max_value": setting.maximum}
    if setting.kind is SettingKind.INTEGER:
        whole = {name: int(value) for name, value in bounds.items() if value is not None}
        return forms.IntegerField(**common | whole)
    return forms.FloatField(**common | bounds, widget=forms.NumberInput(attrs={"step": "any"}))


class SourceArea(CodeArea):
    """A text area that the browser may leave empty, because a file may be given instead."""

    def use_required_attribute(self, initial: Any) -> bool:
        return False


class YamlField(forms.CharField):
    """A value that is typed as YAML; a plain word is a text."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return ABSENT
        try:
            documents = parse_yaml(text.encode())
        except BadDocument as error:
            place = f" ({_('line')} {error.problem.line})" if error.problem.line else ""
            raise ValidationError(f"{error.problem.message}{place}") from None
        return documents[0].value

    def validate(self, value: Any) -> None:
        if self.required and value is ABSENT:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """Do nothing: the length of the text is the form's, the value is the schema's."""


def initial_of(setting: Setting, value: Any) -> Any:
    """Return the text of a stored value as its field shows it."""
    value = setting.default if value is ABSENT else value
    if value is None:
        return ""
    text = value
    match setting.kind:
        case SettingKind.CODE if not isinstance(value, str):
            text = json.dumps(value, indent=2, ensure_ascii=False)
        case SettingKind.LINES:
            text = "\n".join(map(str, value))
        case SettingKind.VALUE:
            text = _one_line(value)
        case SettingKind.YAML:
            text = "" if value in ({}, []) else write_yaml(value)
        case SettingKind.CHOICE if isinstance(value, bool):
            text = json.dumps(value)
    return text


def _one_line(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return write_yaml(value).removesuffix("\n").removesuffix("\n...")


def value_of(setting: Setting, cleaned: Mapping[str, Any]) -> Any:
    """Return the value that a field means, or `ABSENT`."""
    value = cleaned.get(setting.name, ABSENT)
    match setting.kind:
        case SettingKind.LINES:
            return [line for line in str(value).splitlines() if line.strip()]
        case SettingKind.CHOICE if value in ("true", "false") and setting.choices[0][0] == "true":
            return value == "true"
        case SettingKind.TEXT if value == "" and setting.default == "":
            return ""
    return ABSENT if value in ("", None) else value
