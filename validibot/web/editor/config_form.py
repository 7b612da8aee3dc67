"""The form of a step's settings, made from the settings of its validator.

`ConfigForm.config()` gives the configuration. A value that equals its default is left out unless the
configuration had it before, so an unchanged form gives an unchanged configuration.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.forms.formsets import BaseFormSet
from django.utils.translation import gettext as _

from validibot.web.editor.config_fields import (
    ABSENT,
    field_of,
    initial_of,
    names_attributes,
    value_of,
)
from validibot.web.editor.config_schema import Setting, SettingKind, settings_of
from validibot.workflows.checks import ConfigProblem, config_problems
from validibot.workflows.models import Validator

MAX_ROWS = 500
MAX_TEXT = 2 * 1024 * 1024
_PREFIX = "config"
# The key under which a row keeps its stored value: no column has this name.
_STORED = "/"
_TABLES = (SettingKind.ROWS, SettingKind.MAP)


class ConfigForm:
    """The fields of plain settings, and a formset for each setting with rows.

    `config` is the stored configuration; `data` and `files` are those of a request.
    """

    def __init__(
        self,
        validator: Validator,
        config: Mapping[str, Any],
        data: Any = None,
        files: Any = None,
    ) -> None:
        self.validator = validator
        self.stored = config
        self._settings = settings_of(validator)
        plain = [each for each in self._settings if each.kind not in _TABLES]
        self.fields = _fields_form(plain, config, data, files)
        self.tables = [
            (each, _rows_formset(each, _get(config, each.path), data))
            for each in self._settings
            if each.kind in _TABLES
        ]

    def is_valid(self) -> bool:
        """Return whether fields and schema accept what was sent; problems are put at their fields."""
        formsets = [formset for _setting, formset in self.tables]
        if not all([self.fields.is_valid(), *(each.is_valid() for each in formsets)]):
            return False
        if _has_name_twice(self.tables):
            return False
        problems = config_problems(
            self.config(),
            validator=self.validator.title,
            engine=self.validator.engine,
            validation_type=self.validator.validation_type,
            schema=self.validator.settings_schema,
        )
        for problem in problems:
            self.report(problem)
        return not problems

    def config(self) -> dict[str, Any]:
        """Return the configuration of a form whose fields are valid."""
        config: dict[str, Any] = {}
        for setting in self._settings:
            if setting.kind in _TABLES:
                formset = next(each for owner, each in self.tables if owner is setting)
                value = _rows_value(setting, formset)
            else:
                value = value_of(setting, self.fields.cleaned_data)
            if setting.path == ():
                return value if isinstance(value, dict) else {}
            self._put(config, setting, value)
        return config

    def _put(self, config: dict[str, Any], setting: Setting, value: Any) -> None:
        stored = _get(self.stored, setting.path)
        is_default = value is ABSENT or value == setting.default or value in ({}, [])
        if stored is ABSENT and is_default and not setting.is_required:
            return
        if value is ABSENT:
            if stored is not None:
                return
            value = None
        _set(config, setting.path, value)

    def report(self, problem: ConfigProblem) -> None:
        """Put a problem at the field that is nearest to its place."""
        for setting, formset in self.tables:
            if problem.place[: len(setting.path)] == setting.path:
                _report_row(setting, formset, problem)
                return
        plain = [each for each in self._settings if each.kind not in _TABLES]
        near = [each for each in plain if problem.place[: len(each.path)] == each.path]
        sources = [each for each in plain if each.kind is SettingKind.CODE]
        if not problem.place and len(sources) == 1:
            near = sources  # a problem of the whole is one of its only schema
        if near:
            self.fields.add_error(max(near, key=lambda each: len(each.path)).name, problem.message)
        else:
            self.fields.add_error(None, str(problem))


def _fields_form(
    settings: Sequence[Setting], config: Mapping[str, Any], data: Any, files: Any
) -> forms.Form:
    fields: dict[str, forms.Field] = {}
    for setting in settings:
        fields[setting.name] = field_of(setting)
        if setting.kind is SettingKind.CODE:
            fields[f"{setting.name}-upload"] = forms.FileField(
                label=_("%(name)s from a file") % {"name": setting.label},
                required=False,
                max_length=255,
            )
    form_class = type("SettingsForm", (_SettingsForm,), fields)
    initial = {each.name: initial_of(each, _get(config, each.path)) for each in settings}
    form: forms.Form = form_class(data, files, prefix=_PREFIX, initial=initial)
    return form


class _SettingsForm(forms.Form):
    """A form whose code fields can be filled from a file."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in [each for each in self.fields if each.endswith("-upload")]:
            file, target = cleaned.get(name), name.removesuffix("-upload")
            if not file:
                continue
            try:
                content = file.read() if file.size <= MAX_TEXT else b"\xff"
                cleaned[target] = content.decode("utf-8-sig")
                self.errors.pop(target, None)
            except UnicodeDecodeError:
                message = _("%(name)s is not a text in UTF-8 of at most %(limit)s bytes.")
                self.add_error(name, message % {"name": file.name, "limit": f"{MAX_TEXT:,}"})
        return cleaned


def _rows_formset(setting: Setting, value: Any, data: Any) -> "BaseFormSet[Any]":
    columns = {each.name: field_of(each) for each in setting.columns}
    if setting.kind is SettingKind.MAP:
        widget = forms.TextInput(names_attributes(setting.names))
        name = forms.CharField(label=_("Name"), max_length=300, widget=widget)
        columns = {"name": name, **columns}
    row_class = type("SettingsRow", (forms.Form,), columns)
    factory: Any = forms.formset_factory(
        row_class,
        extra=0,
        can_delete=True,
        can_order=True,
        max_num=MAX_ROWS,
        absolute_max=MAX_ROWS + 50,
    )
    made: BaseFormSet[Any] = factory(
        data, prefix=f"{_PREFIX}-{setting.name}", initial=list(_rows_initial(setting, value))
    )
    return made


def _rows_initial(setting: Setting, value: Any) -> Iterator[dict[str, Any]]:
    if setting.kind is SettingKind.MAP:
        entries = value.items() if isinstance(value, dict) else ()
        for name, item in entries:
            yield {"name": name, "value": initial_of(setting.columns[0], item)}
        return
    for row in value if isinstance(value, list) else ():
        initial = {each.name: initial_of(each, _get(row, each.path)) for each in setting.columns}
        yield {**initial, _STORED: row}


def kept_rows(formset: Any) -> list[forms.Form]:
    """Return the forms of the rows that are neither removed nor empty, in their order."""
    return [form for form in formset.ordered_forms if form.has_changed() or form.initial]


def _rows_value(setting: Setting, formset: Any) -> Any:
    rows = kept_rows(formset)
    if setting.kind is SettingKind.MAP:
        return {
            form.cleaned_data["name"]: value_of(setting.columns[0], form.cleaned_data)
            for form in rows
        }
    return [_row_value(setting, form) for form in rows]


def _has_name_twice(tables: Sequence[tuple[Setting, Any]]) -> bool:
    """Report the names that two rows of a MAP have; return whether there are any."""
    is_found = False
    for setting, formset in tables:
        names = [form.cleaned_data.get("name") for form in kept_rows(formset)]
        twice = next((each for each in names if names.count(each) > 1), None)
        if setting.kind is SettingKind.MAP and twice is not None:
            message = _("Two rows have the name %s.") % repr(twice)
            formset._non_form_errors.append(message)  # noqa: SLF001
            is_found = True
    return is_found


def _row_value(setting: Setting, form: forms.Form) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in setting.columns:
        value = value_of(column, form.cleaned_data)
        is_default = value is ABSENT or value == column.default
        was_stored = _get(form.initial.get(_STORED), column.path) is not ABSENT
        if column.is_required or not is_default or (was_stored and value is not ABSENT):
            _set(row, column.path, None if value is ABSENT else value)
    return row


def _report_row(setting: Setting, formset: Any, problem: ConfigProblem) -> None:
    rest = problem.place[len(setting.path) :]
    rows = kept_rows(formset)
    row = None
    if rest and setting.kind is SettingKind.MAP:
        row = next((each for each in rows if each.cleaned_data["name"] == rest[0]), None)
    elif rest and isinstance(rest[0], int) and rest[0] < len(rows):
        row = rows[rest[0]]
    if row is None:
        formset._non_form_errors.append(problem.message)  # noqa: SLF001
        return
    near = [each for each in setting.columns if rest[1 : len(each.path) + 1] == each.path]
    if setting.kind is SettingKind.MAP:
        near = list(setting.columns)
    row.add_error(near[-1].name if near else None, problem.message)


def _get(config: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(config, Mapping) or name not in config:
            return ABSENT
        config = config[name]
    return config


def _set(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        config = config.setdefault(name, {})
    config[path[-1]] = value
