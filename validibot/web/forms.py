"""Forms that look alike: the renderer of every form, and the widgets that Django does not have."""

from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates

COLOURS = ("teal", "green", "amber", "orange", "rose", "violet", "blue", "slate")
"""Names of the colours that a user may give to something; `style.css` has a class for each."""


class PageRenderer(DjangoTemplates):
    """Renders `{{ form }}` and `{{ field.as_field_group }}` with the components of our pages."""

    form_template_name = "web/components/form.html"
    field_template_name = "web/components/field.html"


class ColourSelect(forms.RadioSelect):
    """One of `COLOURS`, shown as a row of swatches."""

    template_name = "web/components/colours.html"


class CodeArea(forms.Textarea):
    """A text area for source: monospaced, without spelling marks."""

    def __init__(self, attrs: dict[str, Any] | None = None, *, rows: int = 10) -> None:
        source = {"class": "code", "spellcheck": "false", "autocapitalize": "off", "rows": rows}
        super().__init__(source | (attrs or {}))
