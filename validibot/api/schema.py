"""Parameters, bodies and answers that operations of the OpenAPI document have in common."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Any, Literal

from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, Field

from validibot.core.problems import MEDIA_TYPE
from validibot.runs.filters import RESULTS
from validibot.runs.models import Run
from validibot.runs.states import RunStatus
from validibot.submissions.intake import MAX_FURTHER_FILES
from validibot.workflows.models import Severity

JSON = "application/json"
_SCENARIO = "How mocked validators behave, for example fail(3). Refused where they are real."

_WEATHER = "The name of weather in the catalogue, in place of that of the step."

_VERSION_NUMBER = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
VERSION = OpenApiParameter(
    "version",
    _VERSION_NUMBER,
    description="Use this version instead of the latest.",
)
PROJECT = OpenApiParameter("project", str, description="The slug of the workflow's project.")
PAGE = [
    OpenApiParameter("cursor", str, description="Taken from the link to another page."),
    OpenApiParameter("page_size", {"type": "integer", "minimum": 1, "maximum": 200}),
    OpenApiParameter(
        "count", str, enum=["true", "false"], description="Whether to count the whole list."
    ),
]
# PostgreSQL keeps no NUL, so no text can contain it.
TEXT = {"type": "string", "pattern": r"^[^\x00]*$"}
RUN_FILTERS = [
    OpenApiParameter("status", str, enum=list(RunStatus.values)),
    OpenApiParameter("result", str, enum=[value for value, _ in RESULTS]),
    OpenApiParameter("workflow", TEXT, description="A workflow's slug."),
    OpenApiParameter(
        "version", _VERSION_NUMBER, description="The version of the workflow that a run is of."
    ),
    OpenApiParameter("project", TEXT, description="The slug of the workflow's project."),
    OpenApiParameter(
        "person", TEXT, description="Who started it: `me`, or the email address of a member."
    ),
    OpenApiParameter(
        "source",
        str,
        enum=list(Run.Source.values),
        description="Where it was started; without it, runs of the editor (TRIAL) are left out.",
    ),
    OpenApiParameter("text", TEXT, description="Text in the file name or the name."),
    OpenApiParameter(
        "finding",
        TEXT,
        description="Text in the message of a finding. A page reads the findings of up to 1,000 runs: "
        "it may be empty, with a `next` that goes on.",
    ),
    OpenApiParameter("after", dt.date, description="Created on this day or later (UTC)."),
    OpenApiParameter("before", dt.date, description="Created before this day (UTC)."),
]
WEATHER_TEXT = OpenApiParameter("text", str, description="Text in the name or the location.")
FINDING_FILTERS = [
    OpenApiParameter("severity", str, enum=list(Severity.values)),
    OpenApiParameter("step", {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}),
    OpenApiParameter("code", TEXT, description="The code of the rule."),
    OpenApiParameter("text", TEXT, description="Text in the message."),
]
MAX_EVENT = 2**63 - 1
_EVENT_ID = {"type": "integer", "minimum": 1, "maximum": MAX_EVENT}
AFTER_EVENT = OpenApiParameter(
    "after", _EVENT_ID, description="The `id` of an event: those behind it."
)
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    _EVENT_ID,
    OpenApiParameter.HEADER,
    description="As `after`, when connecting again.",
)
RERUN_VERSION = OpenApiParameter(
    "version", str, enum=["same", "newest"], description="The version of the workflow; `same`."
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the document that you have; it is not sent again while it is the same.",
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the document that you read; it is changed only if it is still the same.",
)
IDEMPOTENCY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)
LAUNCH = [
    VERSION,
    PROJECT,
    IDEMPOTENCY,
    OpenApiParameter("Prefer", str, OpenApiParameter.HEADER, description="wait=SECONDS"),
    OpenApiParameter("X-Filename", str, OpenApiParameter.HEADER, description="For raw bodies."),
    OpenApiParameter(
        "X-Validibot-Scenario",
        str,
        OpenApiParameter.HEADER,
        description="For raw bodies: the field `scenario`.",
    ),
]


class ApiProblemError(BaseModel):
    """A field that cannot be used, and why."""

    field: str
    message: str
    line: int | None = Field(None, description="The line of a workflow file.")


class ApiProblem(BaseModel):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str = ""
    errors: list[ApiProblemError] = []
    balance: int | None = Field(None, description="With 402: the credits that are left.")
    price: int | None = Field(None, description="With 402: the credits that the run costs.")


class EnvelopeFile(BaseModel):
    """A further file: its text, or its bytes in base64."""

    filename: str
    content: str
    content_encoding: Literal["base64"] | None = None


class LaunchEnvelope(BaseModel):
    """A launch as JSON: the text of the file, or its bytes in base64."""

    content: str
    content_encoding: Literal["base64"] | None = None
    content_type: str | None = None
    filename: str | None = None
    name: str | None = Field(None, max_length=255)
    metadata: dict[str, str] | None = None
    short_description: str | None = Field(None, max_length=255)
    scenario: str | None = Field(None, description=_SCENARIO)
    weather: str | None = Field(None, max_length=255, description=_WEATHER)
    files: list[EnvelopeFile] | None = Field(None, max_length=MAX_FURTHER_FILES)


def answers(success: Any, *failures: int, status: int = 200, media_type: str = JSON) -> Any:
    """Return the `responses` of an operation: its success, its own failures and those of all."""
    problems = dict.fromkeys(
        ((each, MEDIA_TYPE) for each in (400, 401, 403, 404, 406, 429, 503, *failures)), ApiProblem
    )
    return {(status, media_type): success, **problems}


def read(success: type[BaseModel], *failures: int) -> Any:
    """Return the `responses` of an operation that reads a document: it may be unchanged."""
    return answers(success, *failures) | {HTTPStatus.NOT_MODIFIED: None}


class LaunchForm(BaseModel):
    """A launch as a form; `metadata` is a JSON object of strings."""

    file: bytes = Field(json_schema_extra={"format": "binary"})
    filename: str | None = None
    name: str | None = Field(None, max_length=255)
    metadata: str | None = None
    short_description: str | None = Field(None, max_length=255)
    scenario: str | None = Field(None, description=_SCENARIO)
    weather: str | None = Field(None, max_length=255, description=_WEATHER)
    files: list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]] | None = Field(
        None, max_length=MAX_FURTHER_FILES
    )
