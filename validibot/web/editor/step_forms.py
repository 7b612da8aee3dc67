"""The form of a step: its texts, the settings of its validator, its files and its assertions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_lazy as _

from validibot.web.editor.config_fields import names_attributes
from validibot.web.editor.config_form import ConfigForm
from validibot.web.editor.forms import RevisionForm
from validibot.web.forms import CodeArea, NameField
from validibot.workflows import checks, fmu
from validibot.workflows.document import FILE_NAME
from validibot.workflows.models import (
    Assertion,
    OnFailure,
    Severity,
    Step,
    StepFile,
    StepSeverity,
    Validator,
    WeatherFile,
    Workflow,
)
from validibot.workflows.versions import ASSERTION_FIELDS
from validibot.workflows.weather import WEATHER_PORT, store_by_digest

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_ASSERTIONS = 500
# The page offers the names in scope while one types into such a field.
_WITH_NAMES = names_attributes("scope")
_TEXTS = (
    *("name", "description", "severity", "on_failure"),
    *("when", "message", "success_message"),
)
_EXPRESSIONS = ("expression", "when", "message", "success_message")


class StepTextsForm(RevisionForm):
    """The texts of a step, its condition, and what follows its failure."""

    name = NameField(label=_("Name"))
    description = forms.CharField(
        label=_("Description"), required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    severity = forms.ChoiceField(
        label=_("Errors that the step finds count as"),
        choices=StepSeverity.choices,
        initial=StepSeverity.ERROR,
    )
    on_failure = forms.ChoiceField(
        label=_("If the step finds errors"), choices=OnFailure.choices, initial=OnFailure.STOP
    )
    when = forms.CharField(
        label=_("Only when"),
        required=False,
        max_length=2000,
        widget=CodeArea(_WITH_NAMES, rows=2),
        help_text=_(
            "An expression in CEL; the step is skipped where it is not true. Empty: always."
        ),
    )
    message = forms.CharField(
        label=_("Message if the step finds errors"),
        required=False,
        max_length=2000,
        help_text=_("{p.area} shows a value."),
    )
    success_message = forms.CharField(
        label=_("Message if the step passes"), required=False, max_length=2000
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        _check_expressions(self, ("when", "message", "success_message"))
        return cleaned


class SignalRow(forms.Form):
    """A value that the step adds to its outputs."""

    name = forms.CharField(label=_("Name"), max_length=60, validators=[checks.check_signal_name])
    expression = forms.CharField(
        label=_("Expression"),
        max_length=2000,
        widget=CodeArea(_WITH_NAMES, rows=2),
        validators=[checks.check_expression],
    )


class BaseSignals(forms.BaseFormSet[SignalRow]):
    """The rows of signals, which must have names of their own."""

    def clean(self) -> None:
        if self.is_valid():
            checks.check_signals(self.signals())

    def signals(self) -> list[dict[str, str]]:
        rows = [form.cleaned_data for form in self.ordered_forms]
        return [{name: row[name] for name in ("name", "expression")} for row in rows if row]


SignalFormSet = forms.formset_factory(
    SignalRow,
    formset=BaseSignals,
    extra=0,
    can_delete=True,
    can_order=True,
    max_num=checks.MAX_SIGNALS,
    absolute_max=checks.MAX_SIGNALS + 50,
)


class AssertionRow(forms.Form):
    """An assertion; each of its expressions is compiled when it is saved."""

    expression = forms.CharField(
        label=_("This must be true"),
        max_length=2000,
        widget=CodeArea(_WITH_NAMES, rows=2),
        help_text=_("An expression in CEL, such as p.area > 0."),
    )
    severity = forms.ChoiceField(label=_("Severity"), choices=Severity.choices)
    message = forms.CharField(
        label=_("Message if it is not"),
        required=False,
        max_length=2000,
        widget=forms.TextInput(_WITH_NAMES),
        help_text=_("{p.area} shows a value."),
    )
    when = forms.CharField(
        label=_("Only when"),
        required=False,
        max_length=2000,
        widget=forms.TextInput({"class": "code", **_WITH_NAMES}),
        help_text=_("An expression; empty: always."),
    )
    success_message = forms.CharField(
        label=_("Message if it is true"),
        required=False,
        max_length=2000,
        widget=forms.TextInput(_WITH_NAMES),
    )
    path = forms.CharField(label=_("Place in the document"), required=False, max_length=500)
    notes = forms.CharField(label=_("Notes"), required=False, max_length=5000)

    def clean(self) -> dict[str, Any]:
        """Check each expression at its own field."""
        cleaned = super().clean() or {}
        _check_expressions(self, _EXPRESSIONS)
        return cleaned


def _check_expressions(form: forms.Form, names: Sequence[str]) -> None:
    """Compile the expressions of the fields, and those that messages show."""
    for name in names:
        texts = {"expression": "true", name: form.cleaned_data.get(name, "")}
        if not texts[name]:
            continue
        try:
            checks.check_assertion(**texts)
        except ValidationError as error:
            form.add_error(name, error)


AssertionFormSet = forms.formset_factory(
    AssertionRow,
    extra=0,
    can_delete=True,
    can_order=True,
    max_num=MAX_ASSERTIONS,
    absolute_max=MAX_ASSERTIONS + 50,
)


class StepFilesForm(forms.Form):
    """A file for each resource port of the validator, and the weather of the catalogue."""

    def __init__(self, validator: Validator, step: Step | None, data: Any, files: Any) -> None:
        super().__init__(data, files, prefix="files")
        self.validator = validator
        self._ports: dict[str, Mapping[str, Any]] = {}
        stored = {each.port_key: each for each in step.files.all()} if step and step.pk else {}
        if validator.takes_weather:
            self._add_weather(step)
        for port in validator.ports:
            if port["channel"] == "resource_files":
                self._add_port(port, stored.get(port["port_key"]))

    def _add_weather(self, step: Step | None) -> None:
        entries = WeatherFile.objects.values_list("name", "location")
        choices = [(name, f"{location} ({name})") for name, location in entries]
        self.fields["weather"] = forms.ChoiceField(
            label=_("Weather from the catalogue"),
            required=False,
            choices=[("", _("None")), *choices],
            initial=step.weather if step else "",
        )

    def _add_port(self, port: Mapping[str, Any], stored: StepFile | None) -> None:
        key = port["port_key"]
        has = gettext("Now: %(name)s.") % {"name": stored.name} if stored else ""
        other = (
            gettext("Used if no weather of the catalogue is chosen.") if key == WEATHER_PORT else ""
        )
        self._ports[f"port-{key}"] = port
        extensions = port.get("extensions", ())
        self.fields[f"port-{key}"] = forms.FileField(
            label=port["name"],
            required=False,
            max_length=200,
            help_text=f"{has} {other}".strip(),
            widget=forms.ClearableFileInput({"accept": ",".join(extensions)} if extensions else {}),
        )
        if stored:
            label = gettext("Remove %(name)s") % {"name": stored.name}
            self.fields[f"remove-{key}"] = forms.BooleanField(label=label, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name, port in self._ports.items():
            file = cleaned.get(name)
            if file and not re.search(FILE_NAME, file.name):
                message = gettext(
                    "The name %s cannot be used. Rename the file to letters and digits."
                )
                self.add_error(name, message % repr(file.name[:80]))
            elif file and file.size > MAX_FILE_BYTES:
                message = gettext("%(name)s has %(size)s bytes; at most %(limit)s are stored.")
                sizes = {"size": f"{file.size:,}", "limit": f"{MAX_FILE_BYTES:,}"}
                self.add_error(name, message % {"name": file.name, **sizes})
            elif file:
                try:
                    checks.check_port_file(file.name, port)
                except ValidationError as error:
                    self.add_error(name, error.messages)
        return cleaned

    def save(self, step: Step) -> None:
        """Store the files of a saved step."""
        for port in self.validator.ports:
            key = port["port_key"]
            file = self.cleaned_data.get(f"port-{key}")
            if file or self.cleaned_data.get(f"remove-{key}"):
                for stored in step.files.filter(port_key=key):
                    stored.delete()
            if file:
                content = file.read()
                uri, version, sha256 = store_by_digest(file.name, content)
                step.files.create(
                    port_key=key,
                    name=file.name,
                    type=port.get("type", ""),
                    uri=uri,
                    storage_version=version,
                    size_bytes=len(content),
                    sha256=sha256,
                )
        for stored in step.files.all():
            fmu.request_probe(stored)

    @property
    def keeps_fmu(self) -> bool:
        """Whether the step keeps the FMU that it has, which neither is replaced nor removed."""
        ports = [
            port["port_key"] for port in self.validator.ports if port.get("type") == fmu.FMU_TYPE
        ]
        return not any(
            self.cleaned_data.get(f"{change}-{key}")
            for key in ports
            for change in ("port", "remove")
        )


class StepForm:
    """All parts of the form of a step, valid or not together."""

    def __init__(
        self,
        validator: Validator,
        step: Step | None,
        *,
        token: str,
        data: Any = None,
        files: Any = None,
    ) -> None:
        self.validator = validator
        self.step = step
        initial = {"token": token, "name": step.name if step else validator.title}
        if step:
            initial |= {name: getattr(step, name) for name in _TEXTS}
        rows = validator.default_assertions
        if step:
            rows = step.assertions.values(*ASSERTION_FIELDS) if step.pk else []
        self.texts = StepTextsForm(data, initial=initial)
        self.config = ConfigForm(validator, step.config if step else {}, data, files)
        self.files = StepFilesForm(validator, step, data, files)
        signals = step.signals if step else []
        self.signals: Any = SignalFormSet(data, prefix="signals", initial=signals)
        self.assertions: Any = AssertionFormSet(data, prefix="assertions", initial=list(rows))

    def is_valid(self) -> bool:
        parts = (self.texts, self.config, self.files, self.signals, self.assertions)
        is_valid = all([part.is_valid() for part in parts])  # noqa: C419 # each shows its errors
        return is_valid and self._has_names_of_fmu()

    def _has_names_of_fmu(self) -> bool:
        """Return whether the settings name variables of the step's FMU only; report the others.

        A new FMU is not read yet; the page names what it lacks afterwards.
        """
        if self.step is None or not self.files.keeps_fmu:
            return True
        problems = fmu.name_problems(fmu.description_of(self.step), self.config.config())
        for problem in problems:
            self.config.report(problem)
        return not problems

    @property
    def token(self) -> str:
        token: str = self.texts.cleaned_data["token"]
        return token

    def use_token(self, token: str) -> None:
        """Keep all that was typed, with the token of the state now."""
        data: Any = self.texts.data.copy()  # type: ignore[attr-defined]
        data["token"] = token
        self.texts.data = data

    def use_settings(self, settings: Mapping[str, Any]) -> None:
        """Show settings in place of those that were sent; others stay, and nothing is saved."""
        kept = self.config.config() if self.config.is_valid() else self.config.stored
        self.config = ConfigForm(self.validator, {**kept, **settings})

    def draft_step(self, workflow: Workflow, order: int) -> Step:
        """Return the unsaved step that the valid form describes."""
        texts = self.texts.cleaned_data
        return Step(
            workflow=workflow,
            order=order,
            validator=self.validator,
            **{name: texts[name] for name in _TEXTS},
            signals=self.signals.signals(),
            config=self.config.config(),
            weather=self.files.cleaned_data.get("weather", ""),
        )

    def draft_assertions(self, step: Step) -> list[Assertion]:
        """Return the unsaved assertions of the valid form."""
        rows = [form.cleaned_data for form in self.assertions.ordered_forms]
        names = [name for name in ASSERTION_FIELDS if name != "order"]
        return [
            Assertion(step=step, order=order, **{name: row[name] for name in names})
            for order, row in enumerate((each for each in rows if each), start=1)
        ]

    def save(self, step: Step) -> None:
        """Write the parts of the valid form to a step of a version that may be changed."""
        described = self.draft_step(step.workflow, step.order)
        for name in (*_TEXTS, "signals", "config", "weather"):
            setattr(step, name, getattr(described, name))
        step.save()
        self.files.save(step)
        for assertion in step.assertions.all():
            assertion.delete()
        for assertion in self.draft_assertions(step):
            assertion.save()
