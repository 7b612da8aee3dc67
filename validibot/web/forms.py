"""Forms that look alike: the renderer of every form, and the widgets that Django does not have."""

import datetime as dt
from collections.abc import Callable
from typing import Any, Self

from django import forms
from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.forms.renderers import DjangoTemplates
from django.http import Http404, HttpRequest
from django.utils.functional import lazy
from django.utils.translation import ngettext

from validibot.accounts.profile import visible_line


class PageRenderer(DjangoTemplates):
    """Renders `{{ form }}` and `{{ field.as_field_group }}` with the components of our pages."""

    form_template_name = "web/components/form.html"
    field_template_name = "web/components/field.html"


class ColourSelect(forms.RadioSelect):
    """A colour, shown as a row of swatches; `style.css` has a class for each value."""

    template_name = "web/components/colours.html"


class CodeArea(forms.Textarea):
    """A text area for source: monospaced, without spelling marks."""

    def __init__(self, attrs: dict[str, Any] | None = None, *, rows: int = 10) -> None:
        source = {"class": "code", "spellcheck": "false", "autocapitalize": "off", "rows": rows}
        super().__init__(source | (attrs or {}))


class NameField(forms.CharField):
    """A name on one line; characters that cannot be seen or that turn text around are removed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"max_length": 150} | options))

    def to_python(self, value: Any) -> str:
        return visible_line(super().to_python(value) or "")


class LifetimeField(forms.TypedChoiceField):
    """A choice between numbers of days; its value is a timedelta."""

    def __init__(self, *days: int, **options: Any) -> None:
        choices = [(each, _count_of_days(each)) for each in days]
        super().__init__(choices=choices, coerce=_days, **options)


def _days(text: str) -> dt.timedelta:
    return dt.timedelta(days=int(text))


@lazy
def _count_of_days(count: int) -> str:
    return ngettext("%(count)d day", "%(count)d days", count) % {"count": count}


class Refusals:
    """A context in which the ValidationError of a service is shown, and a missing row is a 404.

    `refused` is whether there was one.
    """

    def __init__(self, show: Callable[[ValidationError], object]) -> None:
        self._show = show
        self.refused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, ObjectDoesNotExist):
            raise Http404 from error
        if isinstance(error, ValidationError):
            self._show(error)
            self.refused = True
            return True
        return False


def refusals_on(form: "forms.Form | forms.ModelForm[Any]") -> Refusals:
    """Show what a service refuses as errors of the form."""
    return Refusals(lambda error: form.add_error(None, error))


def refusals_told(request: HttpRequest) -> Refusals:
    """Show what a service refuses as a message of the next page."""
    return Refusals(lambda error: messages.error(request, " ".join(error.messages)))
