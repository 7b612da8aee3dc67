"""Variable of an FMU as its description declares it; importing this loads no XML library."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelVariable:
    """A variable of a model as its description declares it; values and bounds are texts."""

    name: str
    causality: str
    type: str
    unit: str = ""
    start: str = ""
    minimum: str = ""
    maximum: str = ""
    description: str = ""
    variability: str = ""
    reference: int = 0
