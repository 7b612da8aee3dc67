"""The settings of a validator as a list that a form can show, read from its one schema.

The schema is the pydantic model that the API and the import check against, too; here its JSON Schema is
read. A setting of a kind that no field fits is edited as YAML, so every schema has a form.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from validibot.workflows.checks import SEVERITIES, config_model
from validibot.workflows.models import Severity, Validator

_MAX_NESTING = 4
_CODE = re.compile(r"`([^`]+)`")


class SettingKind(StrEnum):
    """The kind of a setting, which decides on its field."""

    TEXT = "text"
    CODE = "code"
    LINES = "lines"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    CHOICES = "choices"
    VALUE = "value"
    YAML = "yaml"
    ROWS = "rows"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting at `path` of the configuration.

    `columns` are the settings of each row of ROWS, and the one of each value of a MAP. `group` is the
    title of the object around it. `names` are those that the page completes in the lines, the text, or
    the names of a MAP: of "model", the step's model, or of "row", in row expressions.
    """

    path: tuple[str, ...]
    kind: SettingKind
    label: str
    help_text: str = ""
    group: str = ""
    is_required: bool = False
    default: Any = None
    choices: tuple[tuple[str, str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    columns: tuple["Setting", ...] = ()
    names: str = ""

    @property
    def name(self) -> str:
        return ".".join(self.path) or "settings"

    @property
    def hint(self) -> SafeString:
        """The help text as HTML; what stands in backticks is code."""
        return mark_safe(_CODE.sub(r"<code>\1</code>", escape(self.help_text)))  # noqa: S308


def settings_of(validator: Validator) -> list[Setting]:
    """Return the settings of a step with this validator, in the order of its schema."""
    model = config_model(validator.engine, validator.validation_type)
    if validator.settings_schema:
        found = list(_SchemaReader({}).settings(validator.settings_schema))
    elif model is None:
        text = _("The settings that the validator reads, as YAML.")
        found = [Setting((), SettingKind.YAML, _("Settings"), text)]
    else:
        schema = model.model_json_schema(by_alias=True)
        found = list(_SchemaReader(schema.get("$defs", {})).settings(schema))
    if not validator.engine and (model is not None or validator.settings_schema):
        found.append(_severities())
    return found


def _severities() -> Setting:
    choices = tuple((value, str(label)) for value, label in Severity.choices)
    value = Setting(
        ("value",), SettingKind.CHOICE, _("Severity"), is_required=True, choices=choices
    )
    text = _("Severities for findings of the validator, by their code.")
    label = _("Severities of findings")
    return Setting((SEVERITIES,), SettingKind.MAP, label, text, columns=(value,))


class _SchemaReader:
    """Reads settings from the JSON Schema of a model."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def settings(
        self, schema: Mapping[str, Any], around: tuple[str, ...] = (), group: str = ""
    ) -> Iterator[Setting]:
        required = set(schema.get("required", ()))
        for name, raw in schema.get("properties", {}).items():
            shape, is_nullable = self._resolve(raw)
            path = (*around, name)
            if shape.get("properties") and len(path) < _MAX_NESTING:
                nested = self.settings(shape, path, _label(raw, name))
                yield from (_optional(each, is_nullable, name in required) for each in nested)
                continue
            setting = self._setting(path, shape, is_nullable=is_nullable)
            yield replace(
                setting,
                label=_label(raw, name),
                help_text=raw.get("description") or shape.get("description", ""),
                group=group,
                is_required=name in required and not is_nullable,
                default=raw.get("default", shape.get("default")),
                names=raw.get("x-names", ""),
            )

    def _setting(
        self, path: tuple[str, ...], shape: Mapping[str, Any], *, is_nullable: bool
    ) -> Setting:
        found = Setting(path, SettingKind.YAML, "")
        match shape.get("type"):
            case "boolean":
                # A third choice leaves it to the validator.
                choices = (("true", _("Yes")), ("false", _("No"))) if is_nullable else ()
                kind = SettingKind.CHOICE if is_nullable else SettingKind.BOOLEAN
                found = replace(found, kind=kind, choices=choices)
            case "integer" | "number":
                found = replace(
                    found,
                    kind=SettingKind(shape["type"]),
                    minimum=shape.get("minimum", shape.get("exclusiveMinimum")),
                    maximum=shape.get("maximum", shape.get("exclusiveMaximum")),
                )
            case "string":
                found = self._text(found, shape)
            case "array":
                found = self._array(found, shape)
            case "object":
                found = self._map(found, shape)
            case None:
                found = replace(found, kind=_untyped(shape))
        return found

    def _text(self, plain: Setting, shape: Mapping[str, Any]) -> Setting:
        if choices := _choices(shape):
            return replace(plain, kind=SettingKind.CHOICE, choices=choices)
        if "contentMediaType" in shape:
            return replace(plain, kind=SettingKind.CODE)
        return replace(plain, kind=SettingKind.TEXT, max_length=shape.get("maxLength"))

    def _array(self, plain: Setting, shape: Mapping[str, Any]) -> Setting:
        items, _is_nullable = self._resolve(shape.get("items", {}))
        if choices := _choices(items):
            return replace(plain, kind=SettingKind.CHOICES, choices=choices)
        if items.get("properties"):
            return replace(plain, kind=SettingKind.ROWS, columns=tuple(self.settings(items)))
        is_text = items.get("type") == "string"
        return replace(plain, kind=SettingKind.LINES) if is_text else plain

    def _map(self, plain: Setting, shape: Mapping[str, Any]) -> Setting:
        values = shape.get("additionalProperties")
        if not values or "patternProperties" in shape:
            return plain
        inner, _is_nullable = self._resolve({} if values is True else values)
        value = self._setting(("value",), inner, is_nullable=False)
        if value.kind in (SettingKind.ROWS, SettingKind.MAP):
            return plain
        if value.kind is SettingKind.TEXT:
            value = replace(value, kind=SettingKind.CODE)
        is_required = value.kind is not SettingKind.BOOLEAN
        value = replace(value, label=_("Value"), is_required=is_required)
        return replace(plain, kind=SettingKind.MAP, columns=(value,))

    def _resolve(self, schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """Return the schema behind references, and whether it allows null."""
        if "$ref" in schema:
            target = self._definitions[schema["$ref"].rpartition("/")[2]]
            return {**target, **{k: v for k, v in schema.items() if k != "$ref"}}, False
        if "const" in schema:
            return {**schema, "enum": [schema["const"]], "type": "string"}, False
        alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if len(alternatives) == 1 and len(schema["anyOf"]) == 2:
            inner, _is_nullable = self._resolve(alternatives[0])
            kept = {name: value for name, value in schema.items() if name != "anyOf"}
            return {**inner, **kept}, True
        return schema, len(alternatives) != len(schema.get("anyOf", ()))


def _untyped(shape: Mapping[str, Any]) -> SettingKind:
    """Return the kind of a setting that may have values of several types."""
    types = {each.get("type") for each in shape.get("anyOf", ())}
    if {"string", "object"} <= types:
        return SettingKind.CODE
    if types and types <= {"string", "number", "integer", "boolean", "null"}:
        return SettingKind.VALUE
    is_any = not set(shape) - {"title", "description", "default", "examples"}
    return SettingKind.VALUE if is_any else SettingKind.YAML


def _choices(shape: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    values = [each for each in shape.get("enum", ()) if isinstance(each, str)]
    titles = {each["name"]: each["title"] for each in shape.get("x-operators", ())}
    return tuple((value, titles.get(value, value)) for value in values)


def _optional(setting: Setting, is_nullable: bool, is_required: bool) -> Setting:
    """Return a setting of a nested object, which need not be there if the object need not."""
    return replace(setting, is_required=setting.is_required and is_required and not is_nullable)


def _label(schema: Mapping[str, Any], name: str) -> str:
    """Return the title that the schema gives; pydantic makes one in capitals where there is none."""
    title: str = schema.get("title", "")
    is_made = title == name.replace("_", " ").title()
    return name.replace("_", " ").capitalize() if is_made or not title else title
