"""Rows for tests: each factory makes one valid row and whatever that row needs."""

# mypy: disallow-untyped-calls=False

import datetime as dt
import hashlib
import io
from typing import Any
from uuid import uuid4

from django.utils import timezone
from factory.declarations import (
    LazyAttribute,
    LazyFunction,
    SelfAttribute,
    Sequence,
    SubFactory,
    Trait,
)
from factory.django import DjangoModelFactory, Password

from validibot.accounts.models import (
    ApiKey,
    Invitation,
    Membership,
    Organisation,
    Project,
    Role,
    User,
)
from validibot.runs.models import (
    Artifact,
    Attempt,
    CallbackReceipt,
    Finding,
    IdempotencyKey,
    Run,
    RunEvent,
    StepRun,
    digest_of,
)
from validibot.runs.start import start
from validibot.submissions.content import Incoming, measure
from validibot.submissions.models import Submission
from validibot.workflows.models import Assertion, Step, StepFile, Validator, Workflow


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    email = Sequence(lambda n: f"ada{n}@example.org")
    password = Password("sesame")


class OrganisationFactory(DjangoModelFactory[Organisation]):
    class Meta:
        model = Organisation

    name = Sequence(lambda n: f"Organisation {n}")
    slug = Sequence(lambda n: f"organisation-{n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    organisation = SubFactory(OrganisationFactory)
    user = SubFactory(UserFactory)
    role = Role.OWNER


class ProjectFactory(DjangoModelFactory[Project]):
    class Meta:
        model = Project

    organisation = SubFactory(OrganisationFactory)
    name = Sequence(lambda n: f"Project {n}")
    slug = Sequence(lambda n: f"project-{n}")


class InvitationFactory(DjangoModelFactory[Invitation]):
    """A row that no link fits; `invitations.invite` makes usable ones."""

    class Meta:
        model = Invitation

    organisation = SubFactory(OrganisationFactory)
    email = Sequence(lambda n: f"invited{n}@example.org")
    role = Role.VIEWER
    invited_by = SubFactory(UserFactory)
    token_digest = Sequence(lambda n: f"{n:064x}")
    expires_at = LazyFunction(lambda: timezone.now() + dt.timedelta(days=1))


class ApiKeyFactory(DjangoModelFactory[ApiKey]):
    """A row that no key fits; `api_keys.issue` makes usable ones."""

    class Meta:
        model = ApiKey

    user = SubFactory(UserFactory)
    name = "laptop"
    public_id = Sequence(lambda n: f"{n:032x}")
    digest = "0" * 64
    expires_at = LazyFunction(lambda: timezone.now() + dt.timedelta(days=1))


class ValidatorFactory(DjangoModelFactory[Validator]):
    """In process by default; `container=True` makes one that runs as an execution."""

    class Meta:
        model = Validator

    class Params:
        container = Trait(
            validation_type="FMU",
            engine="",
            image="validibot/validator-fmu:0.1.0",
            job="validibot-validator-fmu",
            command=["python", "-m", "validators.fmu"],
            accepts=[{"extension": ".fmu", "mime_type": "application/vnd.fmi.fmu"}],
            ports=[
                {
                    "port_key": "fmu_model",
                    "role": "fmu",
                    "channel": "input_files",
                    "name": "model.fmu",
                    "required": True,
                },
                {
                    "port_key": "weather_file",
                    "type": "energyplus_weather",
                    "channel": "resource_files",
                    "name": "Weather",
                    "required": False,
                    "extensions": [".epw"],
                    "default": "",
                },
            ],
        )

    slug = Sequence(lambda n: f"validator-{n}")
    version = "1"
    title = "JSON Schema"
    validation_type = "JSON_SCHEMA"
    engine = "json_schema"
    accepts = [{"extension": ".json", "mime_type": "application/json"}]


class WorkflowFactory(DjangoModelFactory[Workflow]):
    class Meta:
        model = Workflow

    organisation = SubFactory(OrganisationFactory)
    slug = Sequence(lambda n: f"workflow-{n}")
    name = Sequence(lambda n: f"Workflow {n}")


class StepFactory(DjangoModelFactory[Step]):
    class Meta:
        model = Step

    workflow = SubFactory(WorkflowFactory)
    order = 1
    name = "Check it"
    validator = SubFactory(ValidatorFactory)
    config = LazyAttribute(
        lambda row: (
            {"schema": {"type": "object", "required": ["name"]}}
            if row.validator.engine == "json_schema"
            else {}
        )
    )


class AssertionFactory(DjangoModelFactory[Assertion]):
    class Meta:
        model = Assertion

    step = SubFactory(StepFactory)
    order = Sequence(lambda n: n)
    expression = "true"


class StepFileFactory(DjangoModelFactory[StepFile]):
    class Meta:
        model = StepFile

    step = SubFactory(StepFactory, validator=SubFactory(ValidatorFactory, container=True))
    port_key = "weather_file"
    name = "weather.epw"
    type = "energyplus_weather"
    uri = "file:///nowhere/weather.epw"
    storage_version = "sha256:" + "0" * 64
    size_bytes = 10
    sha256 = "0" * 64


class SubmissionFactory(DjangoModelFactory[Submission]):
    """An inline document, `{"name": "Ada"}` unless told otherwise."""

    class Meta:
        model = Submission

    organisation = SubFactory(OrganisationFactory)
    filename = "document.json"
    mime_type = "application/json"
    inline = b'{"name": "Ada"}'
    size_bytes = LazyAttribute(lambda row: len(row.inline or b""))
    sha256 = LazyAttribute(lambda row: hashlib.sha256(row.inline or b"").hexdigest())


class RunFactory(DjangoModelFactory[Run]):
    class Meta:
        model = Run

    organisation = SelfAttribute("workflow.organisation")
    workflow = SubFactory(WorkflowFactory)
    submission = SubFactory(
        SubmissionFactory, organisation=SelfAttribute("..workflow.organisation")
    )
    enqueued_at = LazyFunction(timezone.now)


class StepRunFactory(DjangoModelFactory[StepRun]):
    class Meta:
        model = StepRun

    run = SubFactory(RunFactory)
    step = SubFactory(StepFactory, workflow=SelfAttribute("..run.workflow"))
    order = SelfAttribute("step.order")
    name = SelfAttribute("step.name")
    validator = SelfAttribute("step.validator.slug")
    validator_version = SelfAttribute("step.validator.version")
    config_digest = LazyAttribute(lambda row: digest_of(row.step.config))
    image = SelfAttribute("step.validator.image")


class AttemptFactory(DjangoModelFactory[Attempt]):
    class Meta:
        model = Attempt

    id = LazyFunction(uuid4)
    step_run = SubFactory(StepRunFactory)
    nonce_digest = "0" * 64
    bundle_uri = LazyAttribute(lambda row: f"file:///nowhere/{row.id}")
    input_uri = LazyAttribute(lambda row: f"{row.bundle_uri}/input.json")
    output_uri = LazyAttribute(lambda row: f"{row.bundle_uri}/output.json")
    timeout_at = LazyFunction(lambda: timezone.now() + dt.timedelta(minutes=10))


class CallbackReceiptFactory(DjangoModelFactory[CallbackReceipt]):
    class Meta:
        model = CallbackReceipt

    attempt = SubFactory(AttemptFactory)
    run = SelfAttribute("attempt.step_run.run")
    callback_id = SelfAttribute("attempt.callback_id")
    result_uri = SelfAttribute("attempt.output_uri")


class FindingFactory(DjangoModelFactory[Finding]):
    class Meta:
        model = Finding

    step_run = SubFactory(StepRunFactory)
    run = SelfAttribute("step_run.run")
    order = Sequence(lambda n: n)
    severity = "ERROR"
    message = "The name is missing."


class ArtifactFactory(DjangoModelFactory[Artifact]):
    class Meta:
        model = Artifact

    step_run = SubFactory(StepRunFactory)
    run = SelfAttribute("step_run.run")
    name = Sequence(lambda n: f"report-{n}.csv")
    type = "timeseries-csv"
    uri = "file:///nowhere/report.csv"
    storage_version = "sha256:" + "0" * 64
    size_bytes = 10
    sha256 = "0" * 64


class RunEventFactory(DjangoModelFactory[RunEvent]):
    class Meta:
        model = RunEvent

    run = SubFactory(RunFactory)
    kind = "created"


class IdempotencyKeyFactory(DjangoModelFactory[IdempotencyKey]):
    class Meta:
        model = IdempotencyKey

    organisation = SubFactory(OrganisationFactory)
    user = SubFactory(UserFactory)
    key = Sequence(lambda n: f"key-{n}")
    fingerprint = "0" * 64


def started_run(*, step: Step, **submission: Any) -> Run:
    """Return a run of the step's workflow as `start` leaves it, without its queue entry."""
    run = RunFactory.create(
        workflow=step.workflow,
        submission=SubmissionFactory.create(organisation=step.workflow.organisation, **submission),
    )
    for each in step.workflow.steps.all():
        StepRunFactory.create(run=run, step=each)
    return run


def launched(step: Step, *, user: User | None = None, source: str = "API") -> Run:
    """Start a run of the step's workflow on a small document, as a request does."""
    content = io.BytesIO(b'{"name": "Ada"}')
    filename = f"document{step.validator.accepts[0]['extension']}"
    incoming = Incoming(content, filename, *measure(content))
    return start(step.workflow, incoming, user=user, source=source).run
