"""Checks of workflows and the catalogue, applied whenever a row is saved.

Each function raises Django's ValidationError, which names the field, its value and the allowed ones.
The validator decides which settings a step has: an engine by its `config` model, a container
validator by the input model of its type in `validibot_shared`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from django.core.exceptions import ValidationError
from pydantic import BaseModel, ValidationError as InvalidModel

from validibot.core.echo import echo
from validibot.engines import EngineError, get_engine
from validibot.engines.assertions import Rule, check_rule
from validibot.engines.cel import compiled

SEVERITIES = "finding_severities"
"""Setting of every step with a container validator. The platform applies it, not the validator."""

MAX_SIGNALS = 100
CONSTANT_TYPES = ("STRING", "NUMBER", "BOOLEAN", "LIST", "OBJECT")
_SEVERITIES = ("ERROR", "WARNING", "INFO")
_EXTENSION = re.compile(r"\.[a-z0-9]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A problem of a step's settings at a place of keys and indexes."""

    place: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        where = ".".join(map(str, self.place))
        return f"`{where}`: {self.message}" if where else self.message


def check_config(
    config: Any,
    *,
    validator: str,
    engine: str,
    validation_type: str,
    schema: Mapping[str, Any] | None = None,
) -> None:
    """Check the settings of a step against the schema of its validator.

    `validator` is its title, and `schema` the JSON Schema of a custom one.
    """
    problems = config_problems(
        config, validator=validator, engine=engine, validation_type=validation_type, schema=schema
    )
    if problems:
        raise ValidationError({"config": [str(each) for each in problems[:5]]})


def config_problems(
    config: Any,
    *,
    validator: str,
    engine: str,
    validation_type: str,
    schema: Mapping[str, Any] | None = None,
) -> list[ConfigProblem]:
    """Return all problems of the settings of a step. Raises ValidationError for unknown engines."""
    if not isinstance(config, Mapping):
        return [ConfigProblem((), "The configuration must be a JSON object.")]
    problems = [] if engine else [*_wrong_severities(config)]
    if schema:
        return [*problems, *_breaking(schema, validator_inputs(config))]
    model = config_model(engine, validation_type)
    if model is not None:
        inputs = config if engine else validator_inputs(config)
        own = () if engine else (SEVERITIES,)
        problems += [*_unknown(model, inputs, validator, own=own), *_invalid(model, inputs)]
    return problems


def validator_inputs(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a step that its container validator gets: all but our own."""
    return {name: value for name, value in config.items() if name != SEVERITIES}


def finding_severities(config: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the severities that a step gives to a validator's findings, by code."""
    severities: Mapping[str, str] = config.get(SEVERITIES, {})
    return severities


def check_port(port_key: str, *, validator: str, ports: Sequence[str]) -> None:
    """Check that the validator has a file port with this key."""
    if port_key not in ports:
        known = ", ".join(ports) or "none"
        message = f"{echo(port_key)} is not a file port of {validator}; it has: {known}."
        raise ValidationError({"port_key": message})


def check_port_file(name: str, port: Mapping[str, Any]) -> None:
    """Check that a port of `Validator.ports` takes a file of this name."""
    extensions = port.get("extensions") or []
    if extensions and not name.lower().endswith(tuple(extensions)):
        message = (
            f"{port['name']} takes {_either(extensions)}; {echo(name)} is another type of file."
            " Choose another file."
        )
        raise ValidationError({"name": message})


def _either(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]


def check_assertion(**texts: str) -> None:
    """Check that the expressions of an assertion can be evaluated."""
    try:
        check_rule(Rule(**texts))
    except EngineError as error:
        raise ValidationError(str(error)) from None


def check_default_assertions(assertions: Any) -> None:
    """Check the assertions that a validator gives to new steps."""
    for entry in assertions:
        texts = ("expression", "when", "message", "success_message")
        check_assertion(**{name: entry.get(name, "") for name in texts})


def check_signals(signals: Any) -> None:
    """Check the signals of a step: named expressions, each name once."""
    entries = signals if isinstance(signals, list) else [signals]
    if len(entries) > MAX_SIGNALS:
        message = f"A step has {len(entries)} signals; at most {MAX_SIGNALS} are allowed."
        raise ValidationError(message)
    names: set[str] = set()
    for entry in entries:
        if not isinstance(entry, Mapping) or set(entry) != {"name", "expression"}:
            raise ValidationError(
                f"The signal {echo(entry)} must have the keys name and expression."
            )
        name = str(entry["name"])
        check_signal_name(name)
        if name in names:
            raise ValidationError(f"The signal {echo(name)} is defined twice.")
        try:
            check_expression(str(entry["expression"]))
        except ValidationError as error:
            raise ValidationError(f"The signal {echo(name)}: {error.message}") from None
        names.add(name)


def check_signal_name(name: str) -> None:
    """Check that expressions can use the name of a signal."""
    if not _NAME.fullmatch(name):
        raise ValidationError(f"The signal's name {echo(name)} must be an identifier.")


def check_expression(expression: str) -> None:
    """Check that an expression can be evaluated."""
    try:
        compiled(expression)
    except EngineError as error:
        raise ValidationError(str(error)) from None


def check_file_types(accepts: Any) -> None:
    """Check the file types that a validator accepts."""
    for entry in accepts if isinstance(accepts, list) else [accepts]:
        if not isinstance(entry, Mapping) or set(entry) != {"extension", "mime_type"}:
            raise ValidationError(f"{echo(entry)} must have the keys extension and mime_type.")
        if not _EXTENSION.fullmatch(str(entry["extension"])):
            raise ValidationError(
                f"The extension {echo(entry['extension'])} must look like '.json'."
            )


def check_extensions(extensions: Any) -> None:
    """Check a list of file extensions, each with its dot and in small letters."""
    if not isinstance(extensions, list):
        raise ValidationError(f"{echo(extensions)} must be a list of extensions such as '.json'.")
    for extension in extensions:
        if not isinstance(extension, str) or not _EXTENSION.fullmatch(extension):
            raise ValidationError(f"The extension {echo(extension)} must look like '.json'.")
    if twice := sorted({each for each in extensions if extensions.count(each) > 1}):
        raise ValidationError(f"The extension {echo(twice[0])} is listed twice.")


def check_constants(constants: Any) -> None:
    """Check the constants of a workflow: named values, each name once."""
    names: set[str] = set()
    for entry in constants if isinstance(constants, list) else [constants]:
        if not isinstance(entry, Mapping) or not {"name", "value"} <= set(entry):
            raise ValidationError(f"The constant {echo(entry)} must have the keys name and value.")
        name = str(entry["name"])
        if not _NAME.fullmatch(name):
            raise ValidationError(f"The constant's name {echo(name)} must be an identifier.")
        if name in names:
            raise ValidationError(f"The constant {echo(name)} is defined twice.")
        kind = entry.get("data_type", "STRING")
        if kind not in CONSTANT_TYPES:
            raise ValidationError(
                f"The constant {echo(name)} has the type {echo(kind)}; use one of: {', '.join(CONSTANT_TYPES)}."
            )
        names.add(name)


def _wrong_severities(config: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    severities = config.get(SEVERITIES, {})
    if not isinstance(severities, Mapping):
        message = "This must be an object of severities by code of the finding."
        yield ConfigProblem((SEVERITIES,), message)
        return
    for code, severity in severities.items():
        if severity not in _SEVERITIES:
            message = f"{echo(severity)} is no severity; use one of: {', '.join(_SEVERITIES)}."
            yield ConfigProblem((SEVERITIES, str(code)), message)


def config_model(engine: str, validation_type: str) -> type[BaseModel] | None:
    """Return the schema of a validator's settings, or None if any object is allowed."""
    if engine:
        try:
            return get_engine(engine).config
        except EngineError as error:
            raise ValidationError({"validator": str(error)}) from None
    # Imported late: the published models take a sixth of the start of each process.
    from validibot.workflows.container_settings import settings_of  # noqa: PLC0415

    return settings_of(validation_type)


def _unknown(
    model: type[BaseModel],
    config: Mapping[str, Any],
    owner: str,
    around: tuple[str | int, ...] = (),
    own: Sequence[str] = (),
) -> Iterator[ConfigProblem]:
    """Yield a message for each unknown name; models of containers would ignore it.

    `own` are the settings that the platform applies itself; they are allowed, too.
    """
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    known = ", ".join(f"`{name}`" for name in sorted([*fields, *own])) or "none"
    for name, value in config.items():
        if name not in fields:
            message = f"This is not a setting of {owner}; allowed: {known}."
            yield ConfigProblem((*around, name), message)
        elif (nested := _nested_model(fields[name].annotation)) and isinstance(value, Mapping):
            yield from _unknown(nested, value, f"{owner}, {name}", (*around, name))


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next(
        (each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)),
        None,
    )


def _breaking(schema: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    """Yield a problem for each place at which settings break a JSON Schema."""
    # Imported late: few processes check the settings of a custom validator.
    import jsonschema_rs  # noqa: PLC0415

    for error in jsonschema_rs.Draft202012Validator(dict(schema)).iter_errors(dict(config)):
        yield ConfigProblem(tuple(error.instance_path), f"{error.message}.")


def _invalid(model: type[BaseModel], config: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    try:
        model.model_validate(config)
    except InvalidModel as error:
        for fault in error.errors(include_url=False):
            if fault["type"] == "extra_forbidden":
                continue  # reported above, with the allowed names
            reason = str(fault.get("ctx", {}).get("error", fault["msg"])).rstrip(".")
            if fault["type"].startswith(("greater_than", "less_than")):
                reason = f"{reason}, not {fault['input']}"
            yield ConfigProblem(fault["loc"], f"{reason}.")
