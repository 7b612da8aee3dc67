"""Names that expressions can use: the same in assertions, conditions, messages and row expressions.

`NAMES` is the reference: the editor completes from it, the documentation lists it, and errors hint
at it. Most names have a short form. `build_scope` gives each name its value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ScopeName:
    """A name of expressions, with its short form or "", and an example that uses it."""

    name: str
    short: str
    title: str
    description: str
    example: str

    def spellings(self) -> Iterator[str]:
        """Yield the name, and its short form if it has one."""
        yield self.name
        if self.short:
            yield self.short


MODEL_OUTPUTS = "output_values"
"""The output of a validator that has the output variables of a simulated model by name."""

ROW = ScopeName(
    "row",
    "",
    "Row",
    "The current row of a table, by column; known in row expressions of the tabular validator.",
    "row.minimum <= row.maximum",
)
NAMES = (
    ScopeName(
        "payload",
        "p",
        "Payload",
        "The submitted document, if it is JSON or YAML; else null.",
        "p.area > 0",
    ),
    ScopeName(
        "output",
        "o",
        "Outputs of this step",
        "The values that the validator of this step computed, by name.",
        "o.site_eui_kwh_m2 <= 200.0",
    ),
    ScopeName(
        "s",
        "",
        "Signals",
        "The outputs and signals of this step and all earlier ones, by name; of two with one name the later.",
        "s.site_eui_kwh_m2 <= 200.0",
    ),
    ScopeName(
        "steps",
        "",
        "Steps",
        "The outputs of earlier steps by the number of the step.",
        "steps['2'].site_eui_kwh_m2 <= 200.0",
    ),
    ScopeName(
        "c",
        "",
        "Constants",
        "The constants of the workflow, by name.",
        "p.area <= c.max_area",
    ),
    ScopeName(
        "i",
        "",
        "Inputs",
        "The metadata that was sent with the submission, by name; a value is a text, unless the"
        " workflow describes its inputs.",
        "i.?region.orValue('') == 'EU'",
    ),
    ScopeName(
        "submission",
        "",
        "Submission",
        "Facts about the submission: name, filename, mime_type, size_bytes, sha256,"
        " short_description, metadata, files (names of further files).",
        "submission.filename.endsWith('.json')",
    ),
)
SPELLINGS = tuple(spelling for each in NAMES for spelling in each.spellings())
_FULL_NAMES = {spelling: each.name for each in NAMES for spelling in each.spellings()}


def with_short_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every spelling of every name; a name without a value is null."""
    return {spelling: values.get(name) for spelling, name in _FULL_NAMES.items()}


def with_model_outputs(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return outputs, and those of a simulated model by their own names, too.

    `MODEL_OUTPUTS` has a model's outputs; the outputs of the validator come before them.
    """
    values = outputs.get(MODEL_OUTPUTS)
    return {**values, **outputs} if isinstance(values, Mapping) else dict(outputs)


def build_scope(
    *,
    payload: Any,
    outputs: Mapping[str, Any],
    earlier: Mapping[str, Mapping[str, Any]],
    constants: Sequence[Mapping[str, Any]],
    submission: Mapping[str, Any],
    inputs: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the values of all names. `earlier` holds the outputs of earlier steps by order."""
    signals: dict[str, Any] = {}
    named = {order: with_model_outputs(each) for order, each in earlier.items()}
    for order in sorted(named, key=int):
        signals |= named[order]
    own = with_model_outputs(outputs)
    return {
        "payload": payload,
        "output": own,
        "s": signals | own,
        "steps": named,
        "c": {str(constant["name"]): constant["value"] for constant in constants},
        "i": inputs,
        "submission": submission,
    }
