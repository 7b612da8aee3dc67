"""Settings of a Basic step: rows of path, operator and value, checked when the step is saved."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from validibot.core.echo import echo
from validibot.engines.base import EngineConfig
from validibot.engines.basic.operators import OPERATORS, ValueKind, check_value
from validibot.engines.basic.paths import parse_path

MAX_RULES = 500
OperatorName = StrEnum("OperatorName", {name.upper(): name for name in OPERATORS})  # type: ignore[misc]
_ABOUT_ALL = ("unique", "sorted", "count", "min_count", "max_count", "sum", "min_sum", "max_sum")
# For the editor: the title of each operator, and the kind and an example of its value.
_OPERATORS: list[Any] = [
    {"name": each.name, "title": each.title, "value": each.kind.value, "example": each.example}
    for each in OPERATORS.values()
]
_PATH_HELP = (
    "Place of the value: names, indexes and wildcards, such as `contact.email`,"
    " `items[*].price`, `['unit price']` or `..id`. In a table it is the name of a column."
)


class RuleSeverity(StrEnum):
    """Severity of the findings of a rule; only an ERROR fails the step."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"


class Quantifier(StrEnum):
    """Number of the selected values that must satisfy a rule."""

    EACH = "each"
    ANY = "any"
    NONE = "none"


class RuleCondition(BaseModel):
    """A condition on another value of the same item or row, or of the whole document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(title="Path", description=_PATH_HELP, max_length=500, examples=["country"])
    operator: OperatorName = Field(title="Operator", json_schema_extra={"x-operators": _OPERATORS})
    value: Any = Field(
        default=None, title="Value", description="Value of the operator, if it has one."
    )

    @field_validator("path")
    @classmethod
    def path_must_be_readable(cls, path: str) -> str:
        parse_path(path)
        return path

    @model_validator(mode="after")
    def value_must_fit_operator(self) -> Self:
        check_value(OPERATORS[self.operator], self.value)
        return self


class WhenCondition(RuleCondition):
    """The condition under which a rule applies; operators about all values make none."""

    @field_validator("operator")
    @classmethod
    def operator_must_be_about_one_value(cls, operator: OperatorName) -> OperatorName:
        if operator in _ABOUT_ALL or OPERATORS[operator].kind is ValueKind.PATH:
            raise ValueError(f"The operator `{operator}` cannot be used in a condition")
        return operator


class BasicRule(RuleCondition):
    """A rule: the values at `path` must satisfy `operator`."""

    severity: RuleSeverity = Field(
        default=RuleSeverity.ERROR, title="Severity", description="Only an ERROR fails the step."
    )
    message: str = Field(
        default="",
        title="Message",
        description="Text of the finding instead of the standard one; `{place}`, `{value}` and"
        " `{expected}` are replaced.",
        max_length=1000,
        examples=["The price at {place} is {value}."],
    )
    when: WhenCondition | None = Field(
        default=None,
        title="Only when",
        description="The rule applies only where this condition is true.",
    )
    match: Quantifier = Field(
        default=Quantifier.EACH,
        title="Of the values",
        description="Whether each, any or none of the selected values must satisfy the operator.",
    )

    @model_validator(mode="after")
    def quantifier_must_fit_operator(self) -> Self:
        if self.match != Quantifier.EACH and self.operator in (*_ABOUT_ALL, "required", "absent"):
            raise ValueError(
                f"`match` is {echo(self.match.value)}; the operator `{self.operator}` is about all values,"
                " so it must be 'each'."
            )
        return self


class BasicConfig(EngineConfig):
    """Settings of the engine: the rules, in the order of their findings."""

    rules: list[BasicRule] = Field(
        title="Rules",
        description="Each row says what the values at a path must be.",
        min_length=1,
        max_length=MAX_RULES,
        examples=[[{"path": "items[*].price", "operator": "min", "value": 0}]],
    )
