"""Options of a step, checked against the FMU before the simulation."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from validibot_shared.fmu.envelopes import FMUInputs, FMUSimulationConfig
from validibot_shared.validations.envelopes import MessageLocation, ValidationMessage

from validators.fmu.description import Description
from validators.fmu.variable import FmuVariable, ValueRefused
from validators.sdk.validation import error

STEP_LIMIT = 2_000_000
RELAXED_XML = "validibot:relaxed_xml"
"""Key of `input_values` that is no variable: true accepts an imperfect modelDescription.xml.

The published input model has no field for it and ignores unknown ones.
"""
_SHOWN = 20
# Comparing two names takes the product of their lengths.
_COMPARED_LENGTH = 150
_COMPARED = 2000
_DEFAULT_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class SimulationPlan:
    """Times of a simulation in seconds, and which of them the model's DefaultExperiment gave."""

    start: float
    stop: float
    step: float
    tolerance: float | None
    from_model: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Return the number of communication steps."""
        return math.ceil((self.stop - self.start) / self.step)


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """Options that fit the FMU: values as the simulation takes them, and the chosen outputs."""

    values: Mapping[str, Any]
    outputs: list[FmuVariable]
    plan: SimulationPlan
    relaxed: bool


def check_options(
    inputs: FMUInputs, description: Description
) -> tuple[StepOptions | None, list[ValidationMessage]]:
    """Return the options of a step, or None and an error for each one that does not fit."""
    given = dict(inputs.input_values)
    relaxed: Any = False
    if RELAXED_XML in given and RELAXED_XML not in description.variables:
        relaxed = given.pop(RELAXED_XML)
    findings: list[ValidationMessage] = []
    if not isinstance(relaxed, bool):
        text = f"{RELAXED_XML} is {relaxed!r}; give it true or false."
        findings.append(error(text, code="FMU_VALUE_REFUSED"))
    wanted = inputs.output_variables or description.outputs
    findings += _unknown_names([*given, *wanted], description)
    values: dict[str, Any] = {}
    findings += _convert(given, description, values)
    outputs = [
        variable for name in dict.fromkeys(wanted) if (variable := description.variables.get(name))
    ]
    findings += _unreadable(outputs, inputs.output_variables)
    plan = plan_simulation(inputs.simulation, description)
    findings += _bad_times(plan, inputs.simulation)
    if findings:
        return None, _bounded(findings)
    readable = [variable for variable in outputs if variable.type != "Clock"]
    return StepOptions(values=values, outputs=readable, plan=plan, relaxed=bool(relaxed)), []


def plan_simulation(config: FMUSimulationConfig, description: Description) -> SimulationPlan:
    """Return the times of a simulation.

    An option that the step sets comes first, then the model's DefaultExperiment; if neither says
    anything, the simulation starts at 0, lasts 1 s and has 100 steps.
    """
    experiment, chosen = description.experiment, config.model_fields_set
    from_model: list[str] = []

    def pick(option: str, own: float | None, default: float | None) -> float | None:
        if option in chosen and (value := getattr(config, option)) is not None:
            return float(value)
        if own is not None:
            from_model.append(option)
            return own
        return default

    start = pick("start_time", experiment.start, 0.0) or 0.0
    stop = pick("stop_time", experiment.stop, start + 1.0)
    assert stop is not None
    step = pick("step_size", experiment.step, (stop - start) / _DEFAULT_STEPS)
    return SimulationPlan(
        start=start,
        stop=stop,
        step=step or 0.01,
        tolerance=pick("tolerance", experiment.tolerance, None),
        from_model=tuple(from_model),
    )


def nearest_names(name: str, names: Iterable[str]) -> str:
    """Return a sentence with the names that are most like `name`."""
    names = list(names)
    folded = {known.casefold(): known for known in names}
    comparable = [known for known in folded if len(known) <= _COMPARED_LENGTH][:_COMPARED]
    close = difflib.get_close_matches(
        name[:_COMPARED_LENGTH].casefold(), comparable, n=3, cutoff=0.6
    )
    if not close:
        close = [known for known in folded if name.casefold() in known][:3]
    if close:
        return f"Did you mean {' or '.join(repr(folded[known]) for known in close)}?"
    listed = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"It has: {listed or 'none'}{more}."


def _unknown_names(names: Iterable[str], description: Description) -> Iterator[ValidationMessage]:
    unknown = [name for name in dict.fromkeys(names) if name not in description.variables]
    for name in unknown[:_SHOWN]:
        hint = nearest_names(name, description.variables)
        yield error(f"The FMU has no variable {name!r}. {hint}", code="FMU_UNKNOWN_VARIABLE")
    if len(unknown) > _SHOWN:
        text = f"The FMU lacks {len(unknown) - _SHOWN} more of the named variables."
        yield error(text, code="FMU_UNKNOWN_VARIABLE")


def _convert(
    given: Mapping[str, Any], description: Description, values: dict[str, Any]
) -> Iterator[ValidationMessage]:
    for name, value in given.items():
        if not (variable := description.variables.get(name)):
            continue
        if why := variable.why_not_settable:
            text = f"The step cannot set {name!r}: {why}."
            yield located(text, name, code="FMU_VARIABLE_NOT_SETTABLE")
            continue
        try:
            values[name] = variable.convert(value)
        except ValueRefused as refused:
            yield value_refused(variable, value, refused)


def value_refused(variable: FmuVariable, value: Any, why: ValueRefused) -> ValidationMessage:
    """Return the error for a value that does not fit a variable."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
    text = (
        f"{shown} is not a value for the FMU's {variable.type} variable {variable.name!r}: {why}."
    )
    return located(text, variable.name, code="FMU_VALUE_REFUSED")


def located(text: str, name: str, *, code: str) -> ValidationMessage:
    """Return an error about a variable."""
    return error(text, code=code).model_copy(update={"location": MessageLocation(path=name)})


def _unreadable(outputs: list[FmuVariable], chosen: list[str]) -> Iterator[ValidationMessage]:
    for variable in outputs:
        if variable.type == "Clock" and variable.name in chosen:
            text = f"{variable.name!r} is a clock, which has no value; choose other outputs."
            yield located(text, variable.name, code="FMU_OUTPUT_REFUSED")


def _bad_times(plan: SimulationPlan, config: FMUSimulationConfig) -> list[ValidationMessage]:
    def source(option: str) -> str:
        if option in plan.from_model:
            return " (DefaultExperiment)"
        return "" if option in config.model_fields_set else " (default)"

    times = (plan.start, plan.stop, plan.step, plan.tolerance or 1.0)
    if not all(map(math.isfinite, times)):
        text = "The times and the tolerance of a simulation must be finite numbers."
        return [error(text, code="FMU_TIMES_REFUSED")]
    if not plan.stop > plan.start:
        text = (
            f"The stop time {plan.stop:g} s{source('stop_time')} is not after "
            f"the start time {plan.start:g} s{source('start_time')}."
        )
        return [error(text, code="FMU_TIMES_REFUSED")]
    if (plan.stop - plan.start) / plan.step > STEP_LIMIT:
        text = (
            f"From {plan.start:g} to {plan.stop:g} s in steps of {plan.step:g} s"
            f"{source('step_size')} the simulation would take more than {STEP_LIMIT} steps; "
            "choose a longer step_size."
        )
        return [error(text, code="FMU_TIMES_REFUSED")]
    return []


def _bounded(findings: list[ValidationMessage]) -> list[ValidationMessage]:
    limit = 5 * _SHOWN
    if len(findings) <= limit:
        return findings
    text = f"{len(findings) - limit} more options do not fit the FMU."
    return [*findings[:limit], error(text, code="FMU_VALUE_REFUSED")]
