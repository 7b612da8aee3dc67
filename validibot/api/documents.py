"""The documents of the public API: what they hold, and how they are made from rows.

Pydantic models, not serializers of REST framework: they are typed, they write JSON an order of
magnitude faster, and drf-spectacular describes them in the OpenAPI document from the same fields. The
published client parses these documents, so fields are added here and never renamed or removed.

Runs have a module of their own.
"""

import datetime as dt
import hashlib
from typing import Annotated, Any, Self
from uuid import UUID

from django.http import HttpResponse
from pydantic import AfterValidator, BaseModel, Field, JsonValue

from validibot.accounts.models import Organisation, User
from validibot.accounts.profile import visible_line
from validibot.workflows.inputs import read_input_schema
from validibot.workflows.models import Assertion, Step, Validator, WeatherFile, Workflow
from validibot.workflows.select import accepted_extensions


def _seen_name(text: str) -> str:
    if not (name := visible_line(text)):
        raise ValueError("It has no character that can be seen")
    return name


# A name on one line, without characters that cannot be seen.
type Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_seen_name)]


class UserDocument(BaseModel):
    """The user whose key or session made the request."""

    email: str
    name: str
    username: str

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(email=user.email, name=user.name, username=user.email)


class OrganisationDocument(BaseModel):
    """An organisation that the user is a member of."""

    id: int
    slug: str
    name: str

    @classmethod
    def of(cls, organisation: Organisation) -> Self:
        return cls(id=organisation.pk, slug=organisation.slug, name=organisation.name)


class ValidatorDocument(BaseModel):
    """The validator that a step uses."""

    slug: str
    name: str
    version: str
    validation_type: str
    short_description: str
    accepts_further_files: bool = Field(
        description="Whether it takes files that are sent beside the first, as `files`."
    )

    @classmethod
    def of(cls, validator: Validator) -> Self:
        return cls(
            slug=validator.slug,
            name=validator.title,
            version=validator.version,
            validation_type=validator.validation_type,
            short_description=validator.description,
            accepts_further_files=validator.accepts_further_files,
        )


class AssertionDocument(BaseModel):
    """A CEL expression that a step checks."""

    id: int
    order: int
    expression: str
    when_expression: str
    severity: str
    target_field: str
    message_template: str
    success_message: str
    notes: str

    @classmethod
    def of(cls, assertion: Assertion) -> Self:
        return cls(
            id=assertion.pk,
            order=assertion.order,
            expression=assertion.expression,
            when_expression=assertion.when,
            severity=assertion.severity,
            target_field=assertion.path,
            message_template=assertion.message,
            success_message=assertion.success_message,
            notes=assertion.notes,
        )


class StepDocument(BaseModel):
    """A step of a workflow."""

    id: int
    order: int
    step_number: int
    name: str
    description: str
    validator: ValidatorDocument
    validator_type: str
    config: JsonValue
    is_enabled: bool
    on_failure: str
    severity: str
    when: str
    message: str
    success_message: str
    signals: list[JsonValue]
    assertions: list[AssertionDocument]

    @classmethod
    def of(cls, step: Step) -> Self:
        return cls(
            id=step.pk,
            order=step.order,
            step_number=step.order,
            name=step.name,
            description=step.description,
            validator=ValidatorDocument.of(step.validator),
            validator_type=step.validator.validation_type,
            config=step.config,
            is_enabled=step.is_enabled,
            on_failure=step.on_failure,
            severity=step.severity,
            when=step.when,
            message=step.message,
            success_message=step.success_message,
            signals=step.signals,
            assertions=[AssertionDocument.of(each) for each in step.assertions.all()],
        )


class WorkflowSummary(BaseModel):
    """A version of a workflow, as lists show it."""

    id: int
    uuid: UUID
    slug: str
    name: str
    description: str
    version: int
    org: str
    org_slug: str
    project: str = Field(description="The project's slug, or an empty string.")
    is_active: bool
    constants: list[JsonValue]
    input_schema: JsonValue = Field(description="JSON Schema of `metadata`, or an empty object.")
    created_at: dt.datetime
    updated_at: dt.datetime

    @classmethod
    def of(cls, workflow: Workflow, **more: Any) -> Self:
        return cls(
            id=workflow.pk,
            uuid=workflow.uuid,
            slug=workflow.slug,
            name=workflow.name,
            description=workflow.description,
            version=workflow.version,
            org=workflow.organisation.slug,
            org_slug=workflow.organisation.slug,
            project=workflow.project.slug if workflow.project else "",
            is_active=workflow.is_active,
            constants=workflow.constants,
            input_schema=dict(read_input_schema(workflow.input_schema)),
            created_at=workflow.created_at,
            updated_at=workflow.updated_at,
            **more,
        )


class WorkflowDocument(WorkflowSummary):
    """A version of a workflow with its steps."""

    success_message: str
    accepted_extensions: list[str] = Field(
        description="Extensions of files, with dots, that a launch takes; any if there are none."
    )
    steps: list[StepDocument]

    @classmethod
    def of(cls, workflow: Workflow, **more: Any) -> Self:
        return super().of(
            workflow,
            success_message=workflow.success_message,
            accepted_extensions=sorted(accepted_extensions(workflow)),
            steps=[StepDocument.of(step) for step in workflow.steps.all()],
            **more,
        )


class WeatherFileDocument(BaseModel):
    """A file of weather, in a form that can be compared with one's own copy."""

    name: str
    port_key: str = Field(description="The validator's port that takes it.")
    size_bytes: int
    sha256: str


class WeatherDocument(BaseModel):
    """Weather of the catalogue; a launch names it as `weather`."""

    name: str
    location: str = Field(description="City, region and country, as the file names them.")
    files: list[WeatherFileDocument] = Field(
        description="The EPW file, and those of design days and statistics, if it was loaded with them."
    )
    updated_at: dt.datetime

    @classmethod
    def of(cls, weather: WeatherFile) -> Self:
        return cls(
            name=weather.name,
            location=weather.location,
            files=[WeatherFileDocument.model_validate(file) for file in weather.files],
            updated_at=weather.updated_at,
        )


class ListPage[T: BaseModel](BaseModel):
    """A page of a list; `next` and `previous` are paths on this server."""

    next: str | None
    previous: str | None
    count: int | None = Field(None, description="Length of the whole list, with `count=true`.")
    results: list[T]


class OrganisationPage(ListPage[OrganisationDocument]):
    """A page of organisations."""


class WorkflowPage(ListPage[WorkflowSummary]):
    """A page of workflows."""


class WeatherPage(ListPage[WeatherDocument]):
    """A page of the weather catalogue."""


def respond(
    document: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    """Return the answer that holds `document` as JSON, with its ETag."""
    content = document.model_dump_json().encode()
    headers = {"ETag": etag_of(content)} | (headers or {})
    return HttpResponse(content, "application/json", status=status, headers=headers)


def etag_of(content: bytes) -> str:
    """Return the ETag of a document that is sent as `content`."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
