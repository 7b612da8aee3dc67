"""Variable of an FMU, and which values it takes."""

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

INTEGER_RANGES = {
    "Integer": (-(2**31), 2**31 - 1),
    **{f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
FLOATS = frozenset({"Real", "Float32", "Float64"})
_FLOAT32_MAX = 3.4028234663852886e38
_SHOWN = 8


class ValueRefused(Exception):
    """A value does not fit its variable; the text says why, without a full stop."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Unit of a model description, with (factor, offset) of each display unit.

    A displayed value is `factor * value + offset`.
    """

    name: str
    displayed: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """`DefaultExperiment` of a model description, in seconds; None where it says nothing."""

    start: float | None = None
    stop: float | None = None
    step: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class FmuVariable:
    """Variable of an FMU. `shape` is empty for a scalar; `items` are those of an enumeration."""

    name: str
    causality: str
    type: str
    variability: str = "continuous"
    initial: str = ""
    reference: int = 0
    unit: Unit | None = None
    relative: bool = False
    minimum: float | int | None = None
    maximum: float | int | None = None
    items: dict[str, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def label(self) -> str:
        """Return the name with the unit, as in a header: `speed [m/s]`."""
        return f"{self.name} [{self.unit.name}]" if self.unit else self.name

    @property
    def why_not_settable(self) -> str | None:
        """Return why a step cannot set the variable; None if it can."""
        why: str | None = "the model calculates it"
        if self.type == "Clock":
            why = "it is a clock"
        elif self.causality == "structuralParameter":
            why = "it is a structural parameter, which sets the sizes of arrays"
        elif self.variability == "constant":
            why = "it is a constant"
        elif self.causality == "input" or self.initial in {"exact", "approx"}:
            why = None
        elif self.causality == "independent":
            why = "it is the simulated time"
        return why

    def convert(self, value: Any) -> Any:
        """Return a value of a step in the form that the simulation takes. Raises ValueRefused.

        A value may be an object with the keys `value` and `unit`. A list has the elements of an
        array, flat in row-major order or nested by dimension; the result is flat. An item of an
        enumeration becomes its number, bytes become hexadecimal digits.
        """
        unit = None
        if isinstance(value, dict):
            if set(value) != {"value", "unit"} or not isinstance(value["unit"], str):
                raise ValueRefused("an object must have the keys 'value' and 'unit'")
            value, unit = value["value"], value["unit"]
        if not self.shape:
            if isinstance(value, list):
                raise ValueRefused("the variable is a scalar, give it one value")
            return self._scalar(value, unit)
        if not isinstance(value, list):
            shape = " x ".join(map(str, self.shape))
            raise ValueRefused(f"the variable is an array, give it a list of {shape} values")
        return [self._scalar(item, unit) for item in self._flat(value)]

    def _flat(self, value: list[Any]) -> list[Any]:
        if not any(isinstance(item, list) for item in value):
            items = value
        else:
            items = list(_elements(value, self.shape))
        if len(items) != self.size:
            raise ValueRefused(f"the array has {self.size} elements, the list {len(items)}")
        return items

    def _scalar(self, value: Any, unit: str | None) -> Any:
        if self.type == "Boolean":
            if not isinstance(value, bool):
                raise ValueRefused("give it true or false")
            return value
        if self.type == "String":
            if not isinstance(value, str) or "\0" in value:
                raise ValueRefused("give it a text in quotes, without NUL characters")
            return value
        if self.type == "Binary":
            return _hexadecimal(value)
        if self.type == "Enumeration" and (self.items or isinstance(value, str)):
            return self._item(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueRefused("give it a number")
        number = self.in_own_unit(value, unit)
        number = self._float(number) if self.type in FLOATS else self._integer(number)
        self._check_bounds(number)
        return number

    def in_own_unit(self, value: float, unit: str | None) -> float:
        """Return a value, given in `unit`, in the variable's unit. Raises ValueRefused."""
        if unit is None or (self.unit and unit == self.unit.name):
            return value
        if self.unit is None:
            raise ValueRefused(f"the variable has no unit, so {unit!r} cannot be checked")
        if unit not in self.unit.displayed:
            known = ", ".join([self.unit.name, *self.unit.displayed][:_SHOWN])
            raise ValueRefused(f"{unit!r} is not one of its units: {known}")
        factor, offset = self.unit.displayed[unit]
        if not factor:
            raise ValueRefused(f"its unit {unit!r} has the factor 0")
        return (value - (0 if self.relative else offset)) / factor

    def _float(self, value: float) -> float:
        limit = _FLOAT32_MAX if self.type == "Float32" else math.inf
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or abs(number) > limit:
            raise ValueRefused(f"it is not a finite {self.type} number")
        return number

    def _integer(self, value: float) -> int:
        low, high = INTEGER_RANGES.get(self.type, INTEGER_RANGES["Int64"])
        if not low <= value <= high:
            raise ValueRefused(f"{self.type} takes {low} to {high}")
        if value != int(value):
            raise ValueRefused("give it a whole number")
        return int(value)

    def _item(self, value: Any) -> int:
        if isinstance(value, str) and value in self.items:
            return self.items[value]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or value not in self.items.values():
            known = ", ".join(f"{name} ({number})" for name, number in self.items.items())
            raise ValueRefused(f"its items are: {known[:500] or 'none'}")
        return int(value)

    def _check_bounds(self, value: float) -> None:
        unit = f" {self.unit.name}" if self.unit else ""
        if self.minimum is not None and value < self.minimum:
            raise ValueRefused(f"the model declares a minimum of {self.minimum}{unit}")
        if self.maximum is not None and value > self.maximum:
            raise ValueRefused(f"the model declares a maximum of {self.maximum}{unit}")


def _elements(value: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    if not shape:
        yield value
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueRefused(
            f"a nested list must have {shape[0]} elements at each level of this size"
        )
    for item in value:
        yield from _elements(item, shape[1:])


def _hexadecimal(value: Any) -> str:
    try:
        return base64.b64decode(value, validate=True).hex()
    except (TypeError, ValueError):
        raise ValueRefused("give it bytes in base64") from None
