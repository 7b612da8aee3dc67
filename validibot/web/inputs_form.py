"""The form of a workflow's inputs, made from its JSON Schema."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from validibot.workflows.inputs import properties_of, read_input_schema
from validibot.workflows.models import Workflow

_HTML_TYPES = {"date": "date", "email": "email", "uri": "url", "time": "time"}


class InputsForm(forms.Form):
    """A field for each input. The fields check nothing: the launch checks the schema itself."""

    def __init__(
        self,
        workflow: Workflow,
        data: Any = None,
        *,
        faults: Mapping[str, str] | None = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, prefix="input", initial=initial)
        required = read_input_schema(workflow.input_schema).get("required", [])
        for name, schema in properties_of(workflow.input_schema).items():
            self.fields[name] = _field(name, schema, required=name in required)
        self._faults = faults or {}

    def full_clean(self) -> None:
        """Show the faults that the launch found, in the words of the schema."""
        super().full_clean()
        self._errors = forms.utils.ErrorDict(renderer=self.renderer)
        for name, fault in self._faults.items():
            self.add_error(name if name in self.fields else None, fault)

    def metadata(self) -> dict[str, str]:
        """Return the texts that were typed; an empty field is no input."""
        texts = {name: str(self[name].data or "").strip() for name in self.fields}
        return {name: text for name, text in texts.items() if text}


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> forms.Field:
    options: dict[str, Any] = {
        "label": schema.get("title") or name,
        "help_text": schema.get("description", ""),
        "required": required,
        "initial": _text(schema["default"]) if "default" in schema else None,
    }
    if "enum" in schema or schema["type"] == "boolean":
        listed = schema.get("enum", [True, False])
        labels = {"true": _("Yes"), "false": _("No")} if schema["type"] == "boolean" else {}
        choices = [(text, labels.get(text, text)) for text in map(_text, listed)]
        return forms.ChoiceField(choices=[("", "—"), *choices], **options)
    return forms.CharField(widget=forms.TextInput(attrs=_attributes(schema)), **options)


def _attributes(schema: Mapping[str, Any]) -> dict[str, Any]:
    if schema["type"] in ("number", "integer"):
        bounds = {"min": "minimum", "max": "maximum"}
        attributes = {each: schema[key] for each, key in bounds.items() if key in schema}
        return {"type": "number", "step": 1 if schema["type"] == "integer" else "any"} | attributes
    attributes = {"maxlength": schema.get("maxLength", 2000)}
    if kind := _HTML_TYPES.get(schema.get("format", "")):
        attributes["type"] = kind
    if schema.get("examples"):
        attributes["placeholder"] = _text(schema["examples"][0])
    return attributes


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
