"""Names that the assertions of a step can use, with everything below them that is known beforehand.

The editor offers them for completion. The paths of the payload are those of a passing sample.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from validibot.engines import Document
from validibot.engines.scope import NAMES, ROW
from validibot.engines.tabular.config import read_config
from validibot.workflows import fmu
from validibot.workflows.inputs import properties_of
from validibot.workflows.models import Step

MAX_PAYLOAD_PATHS = 200
MAX_MODEL_OUTPUTS = 500
_MAX_DEPTH = 4
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words of CEL that cannot stand behind a dot.
_RESERVED = frozenset(("in", "true", "false", "null"))
_FACTS = {
    "name": "name that the sender gave, or the file name",
    "filename": "file name",
    "mime_type": "media type",
    "size_bytes": "size in bytes",
    "sha256": "SHA-256 of the content, in hexadecimal",
    "short_description": "description that the sender gave",
    "metadata": "metadata of the sender, the same as `i`",
    "files": "names of the further files",
}


@dataclass(frozen=True, slots=True)
class NameInScope:
    """An expression that the editor can complete to; `example` is a value or an expression."""

    text: str
    description: str
    example: str = ""


def names_in_scope(step: Step) -> list[NameInScope]:
    """Return the names that expressions of a step can use.

    The step needs a workflow and a validator; it need not be saved.
    """
    names = [
        NameInScope(spelling, each.description, each.example)
        for each in NAMES
        for spelling in each.spellings()
    ]
    return [*names, *_members(step)]


def names_of_row(config: Mapping[str, Any]) -> list[NameInScope]:
    """Return the names that only row expressions have: the row, and its columns in the settings."""
    try:
        columns = read_config(dict(config), filename="").columns
    except ValueError:  # the form says what is wrong with the settings
        columns = []
    return [
        NameInScope(ROW.name, ROW.description, ROW.example),
        *(NameInScope(_member("row", each.name), f"column ({each.type})") for each in columns),
    ]


def _members(step: Step) -> Iterator[NameInScope]:
    workflow = step.workflow
    for constant in workflow.constants:
        text = _member("c", str(constant["name"]))
        yield NameInScope(text, constant.get("description", ""), repr(constant["value"]))
    for name, schema in properties_of(workflow.input_schema).items():
        text = str(schema.get("description") or schema.get("title") or "input")
        yield NameInScope(_member("i", name), f"{text} ({schema['type']})")
    yield from _outputs("o", step)
    signals = {each.text: each for each in _outputs("s", step)}
    signals |= {each.text: each for each in _signals("s", step)}
    earlier = workflow.steps.select_related("validator").order_by("order")
    if step.order is not None:
        earlier = earlier.filter(order__lt=step.order)
    for other in earlier:
        signals = {each.text: each for each in _outputs("s", other)} | signals
        signals |= {each.text: each for each in _signals("s", other)}
        yield from _outputs(f"steps['{other.order}']", other)
        yield from _signals(f"steps['{other.order}']", other)
    yield from signals.values()
    for name, description in _FACTS.items():
        yield NameInScope(f"submission.{name}", description)
    yield from _payload(step)


def _outputs(owner: str, step: Step) -> Iterator[NameInScope]:
    for output in step.validator.outputs:
        unit = f" [{output['unit']}]" if output["unit"] else ""
        yield NameInScope(_member(owner, output["slug"]), f"{output['label']}{unit}")
    slugs = {output["slug"] for output in step.validator.outputs}
    variables = fmu.variables_of(fmu.description_of(step))
    for variable in fmu.outputs_of(variables, step.config)[:MAX_MODEL_OUTPUTS]:
        if variable.name not in slugs:
            unit = f" [{variable.unit}]" if variable.unit else ""
            text = variable.description or "output of the model"
            yield NameInScope(_member(owner, variable.name), f"{text}{unit} ({variable.type})")


def _signals(owner: str, step: Step) -> Iterator[NameInScope]:
    for signal in step.signals:
        description = f"signal of step {step.order}" if step.order else "signal of this step"
        yield NameInScope(_member(owner, signal["name"]), description, signal["expression"])


def _payload(step: Step) -> Iterator[NameInScope]:
    sample = step.workflow.samples.order_by("-passes", "pk").first() if step.workflow.pk else None
    if sample is None:
        return
    payload = Document(bytes(sample.content), sample.filename, "").payload_or_none()
    for number, (text, value) in enumerate(_paths("p", payload, depth=0)):
        if number == MAX_PAYLOAD_PATHS:
            return
        yield NameInScope(text, f"from the sample {sample.filename}", _shown(value))


def _paths(owner: str, value: Any, *, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield what is below a value; of a list only the first item, as the others look like it."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        items = [(_member(owner, name), item) for name, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{owner}[0]", value[0])]
    for text, item in items:
        yield text, item
        if depth < _MAX_DEPTH:
            yield from _paths(text, item, depth=depth + 1)


def _member(owner: str, name: str) -> str:
    is_plain = _IDENTIFIER.fullmatch(name) and name not in _RESERVED
    return f"{owner}.{name}" if is_plain else f"{owner}[{name!r}]"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        kind = "object" if isinstance(value, dict) else "list"
        return f"{kind} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
