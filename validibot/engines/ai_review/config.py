"""Settings of an AI review: criteria in plain words, checked when the step is saved."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from validibot.engines.assertions import message_expressions
from validibot.engines.base import EngineConfig
from validibot.engines.cel import compiled

MAX_CRITERIA = 20
MAX_CRITERION = 1000
MAX_INSTRUCTIONS = 8000


class ReviewCriterion(BaseModel):
    """A criterion, and the severity of the finding if the document does not meet it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(
        title="Criterion",
        min_length=1,
        max_length=MAX_CRITERION,
        description="A statement that must be true of the document, in plain words.",
    )
    severity: Literal["ERROR", "WARNING", "INFO"] = Field(
        default="WARNING",
        title="Severity",
        description="Of the finding if the statement is not true. Only an ERROR fails the step.",
    )

    @field_validator("text")
    @classmethod
    def text_must_not_be_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the criterion is blank; write a statement about the document")
        return text


class AiReviewConfig(EngineConfig):
    """Settings of the engine."""

    criteria: list[ReviewCriterion] = Field(
        title="Criteria",
        min_length=1,
        max_length=MAX_CRITERIA,
        description="The model answers each one by itself.",
    )
    instructions: str = Field(
        default="",
        title="Instructions",
        max_length=MAX_INSTRUCTIONS,
        description="What the model should know besides, such as who wrote the document and for whom."
        " A name such as `{submission.name}` or `{p.author}` stands for a value; values are sent as data.",
        json_schema_extra={"contentMediaType": "text/plain"},
    )
    least_confidence: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Least confidence for errors",
        description="An ERROR of which the model is less sure becomes a WARNING.",
    )

    @field_validator("instructions")
    @classmethod
    def names_must_be_known(cls, text: str) -> str:
        for expression in message_expressions(text):
            compiled(expression)
        return text
