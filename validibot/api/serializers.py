"""The documents of the public API (contract: what the published client parses)."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from validibot.accounts.models import Organisation, User
from validibot.runs.models import Artifact, Finding, Run, RunEvent, StepRun
from validibot.workflows.models import Assertion, Step, Validator, Workflow

_SCENARIO = "How mocked validators behave, for example fail(3). Refused where they are real."


class UserSerializer(serializers.ModelSerializer[User]):
    username = serializers.EmailField(source="email")

    class Meta:
        model = User
        fields = ("email", "name", "username")


class OrganisationSerializer(serializers.ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ("id", "slug", "name")


class ValidatorSerializer(serializers.ModelSerializer[Validator]):
    name = serializers.CharField(source="title")
    short_description = serializers.CharField(source="description")

    class Meta:
        model = Validator
        fields = ("slug", "name", "version", "validation_type", "short_description")


class AssertionSerializer(serializers.ModelSerializer[Assertion]):
    when_expression = serializers.CharField(source="when")
    message_template = serializers.CharField(source="message")
    target_field = serializers.CharField(source="path")

    class Meta:
        model = Assertion
        fields = (
            "id",
            "order",
            "expression",
            "when_expression",
            "severity",
            "target_field",
            "message_template",
            "success_message",
            "notes",
        )


class StepSerializer(serializers.ModelSerializer[Step]):
    step_number = serializers.IntegerField(source="order")
    validator = ValidatorSerializer()
    validator_type = serializers.CharField(source="validator.validation_type")
    assertions = AssertionSerializer(many=True)

    class Meta:
        model = Step
        fields = (
            "id",
            "order",
            "step_number",
            "name",
            "description",
            "validator",
            "validator_type",
            "config",
            "assertions",
        )


class WorkflowSerializer(serializers.ModelSerializer[Workflow]):
    """A workflow in a list."""

    org = serializers.CharField(source="organisation.slug")
    org_slug = serializers.CharField(source="organisation.slug")
    project = serializers.SerializerMethodField()

    class Meta:
        model = Workflow
        fields: tuple[str, ...] = (
            "id",
            "uuid",
            "slug",
            "name",
            "description",
            "version",
            "org",
            "org_slug",
            "project",
            "is_active",
            "constants",
            "created_at",
            "updated_at",
        )

    def get_project(self, workflow: Workflow) -> str:
        return workflow.project.slug if workflow.project else ""


class WorkflowDetailSerializer(WorkflowSerializer):
    """A workflow with its steps."""

    steps = StepSerializer(many=True)

    class Meta(WorkflowSerializer.Meta):
        fields = (*WorkflowSerializer.Meta.fields, "success_message", "steps")


class FindingSerializer(serializers.ModelSerializer[Finding]):
    class Meta:
        model = Finding
        fields = ("id", "message", "path", "severity", "code", "line", "column", "assertion_id")


class OutputValueSerializer(serializers.Serializer[dict[str, Any]]):
    """One named output of a step."""

    slug = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    value = serializers.JSONField()
    units = serializers.CharField()


class ArtifactSerializer(serializers.ModelSerializer[Artifact]):
    """A file to download at `url` (a path on this server)."""

    url = serializers.SerializerMethodField()

    class Meta:
        model = Artifact
        fields = ("id", "name", "type", "mime_type", "size_bytes", "sha256", "url")

    def get_url(self, artifact: Artifact) -> str:
        org = self.context["org"]
        return f"/api/v1/orgs/{org}/runs/{artifact.run_id}/artifacts/{artifact.pk}/"


class StepRunSerializer(serializers.ModelSerializer[StepRun]):
    """A step; `image` is what it asks for, `image_digest` pins what was executed, where that is known."""

    step_id = serializers.IntegerField()
    name = serializers.CharField(source="step.name")
    issues = FindingSerializer(many=True, source="findings")
    output_values = serializers.SerializerMethodField()
    artifacts = ArtifactSerializer(many=True)
    image = serializers.CharField()
    image_digest = serializers.CharField()

    class Meta:
        model = StepRun
        fields = (
            "step_id",
            "order",
            "name",
            "status",
            "error",
            "started_at",
            "ended_at",
            "issues",
            "output_values",
            "artifacts",
            "image",
            "image_digest",
        )

    @extend_schema_field(OutputValueSerializer(many=True))
    def get_output_values(self, step_run: StepRun) -> list[dict[str, Any]]:
        return [
            {"slug": each.slug, "label": each.label, "value": each.value, "units": each.unit}
            for each in step_run.output_values()
        ]


class RunSerializer(serializers.ModelSerializer[Run]):
    """A run in a list. `state` and `result` are what clients decide by."""

    org = serializers.CharField(source="organisation.slug")
    user = serializers.IntegerField(source="user_id", allow_null=True)
    workflow = serializers.IntegerField(source="workflow_id")
    workflow_slug = serializers.CharField(source="workflow.slug")
    workflow_version = serializers.IntegerField(source="workflow.version")
    submission = serializers.UUIDField(source="submission_id")
    name = serializers.CharField(source="submission.name")
    filename = serializers.CharField(source="submission.filename")
    metadata = serializers.DictField(source="submission.metadata")
    short_description = serializers.CharField(source="submission.short_description")
    state = serializers.ChoiceField(choices=["PENDING", "RUNNING", "COMPLETED"])
    result = serializers.ChoiceField(
        choices=["PASS", "FAIL", "ERROR", "CANCELED", "TIMED_OUT", "UNKNOWN"]
    )
    duration_ms = serializers.IntegerField()
    user_friendly_error = serializers.CharField(source="error")
    url = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields: tuple[str, ...] = (
            "id",
            "status",
            "state",
            "result",
            "source",
            "error_category",
            "error",
            "user_friendly_error",
            "org",
            "user",
            "workflow",
            "workflow_slug",
            "workflow_version",
            "submission",
            "name",
            "filename",
            "metadata",
            "short_description",
            "created_at",
            "started_at",
            "ended_at",
            "duration_ms",
            "url",
        )

    def get_url(self, run: Run) -> str:
        return f"/api/v1/orgs/{run.organisation.slug}/runs/{run.pk}/"


class RunDetailSerializer(RunSerializer):
    """A run with its steps and their findings."""

    steps = StepRunSerializer(many=True)

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "steps")


class RunEventSerializer(serializers.ModelSerializer[RunEvent]):
    """One moment in the life of a run; `step` is the order of the step that it concerns."""

    step = serializers.IntegerField(source="step_run.order", default=None, allow_null=True)

    class Meta:
        model = RunEvent
        fields = ("id", "at", "kind", "step", "actor", "message", "data")


class ProblemSerializer(serializers.Serializer[dict[str, Any]]):
    """An error (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(required=False)
    errors = serializers.ListField(  # type: ignore[assignment]
        child=serializers.DictField(), required=False
    )


class EnvelopeLaunchSerializer(serializers.Serializer[dict[str, Any]]):
    """A launch as JSON: the file's text, or its bytes in base64."""

    content = serializers.CharField()
    content_encoding = serializers.ChoiceField(choices=["base64"], required=False)
    content_type = serializers.CharField(required=False)
    filename = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    metadata = serializers.DictField(child=serializers.CharField(), required=False)
    short_description = serializers.CharField(max_length=255, required=False)
    scenario = serializers.CharField(required=False, help_text=_SCENARIO)


class MultipartLaunchSerializer(serializers.Serializer[dict[str, Any]]):
    """A launch as a form; `metadata` is a JSON object of strings."""

    file = serializers.FileField()
    filename = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    metadata = serializers.CharField(required=False)
    short_description = serializers.CharField(max_length=255, required=False)
    scenario = serializers.CharField(required=False, help_text=_SCENARIO)
