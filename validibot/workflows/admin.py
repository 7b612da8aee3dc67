"""Workflows and the validator catalogue in the admin."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from validibot.engines import EngineError
from validibot.engines.assertions import Rule, check_rule
from validibot.workflows.models import Assertion, Sample, Step, StepFile, Validator, Workflow


class AssertionForm(forms.ModelForm[Assertion]):
    """Refuses an expression that no document could satisfy or break: one that is wrong."""

    class Meta:
        model = Assertion
        fields: ClassVar = [
            "order",
            "expression",
            "when",
            "severity",
            "message",
            "success_message",
            "path",
            "notes",
        ]
        widgets: ClassVar = {
            name: forms.Textarea(attrs={"rows": 2})
            for name in ("expression", "when", "message", "success_message", "notes")
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        texts = {
            name: cleaned.get(name, "")
            for name in ("expression", "when", "message", "success_message")
        }
        try:
            check_rule(Rule(**texts))
        except EngineError as error:
            raise ValidationError(str(error)) from None
        return cleaned


class AssertionInline(admin.StackedInline[Assertion, Step]):
    model = Assertion
    form = AssertionForm
    extra = 0


class StepFileInline(admin.TabularInline[StepFile, Step]):
    """Files are stored by setup; here they are only shown."""

    model = StepFile
    extra = 0
    can_delete = False
    readonly_fields = ("port_key", "name", "type", "uri", "storage_version", "size_bytes", "sha256")

    def has_add_permission(self, request: Any, obj: Step | None = None) -> bool:
        return False


class StepInline(admin.TabularInline[Step, Workflow]):
    model = Step
    extra = 0
    fields = ("order", "name", "validator", "config", "scenario")
    show_change_link = True


class SampleInline(admin.TabularInline[Sample, Workflow]):
    model = Sample
    extra = 0
    fields = ("title", "filename", "passes")
    readonly_fields = fields
    can_delete = False

    def has_add_permission(self, request: Any, obj: Workflow | None = None) -> bool:
        return False


@admin.register(Workflow)
class WorkflowAdmin(admin.ModelAdmin[Workflow]):
    list_display = ("name", "version", "organisation", "project", "is_active", "updated_at")
    list_filter = ("is_active", "organisation")
    list_select_related = ("organisation", "project")
    search_fields = ("name", "slug")
    readonly_fields = ("uuid", "created_at", "updated_at")
    autocomplete_fields = ("organisation", "project", "author")
    inlines: ClassVar = [StepInline, SampleInline]


@admin.register(Step)
class StepAdmin(admin.ModelAdmin[Step]):
    list_display = ("name", "workflow", "order", "validator")
    list_select_related = ("workflow", "validator")
    search_fields = ("name", "workflow__name")
    autocomplete_fields = ("workflow", "validator")
    inlines: ClassVar = [AssertionInline, StepFileInline]


@admin.register(Validator)
class ValidatorAdmin(admin.ModelAdmin[Validator]):
    """The catalogue is synced from manifests; only whether a validator is offered is set here."""

    list_display = ("title", "version", "validation_type", "is_active", "updated_at")
    list_filter = ("is_active", "validation_type")
    search_fields = ("title", "slug")
    readonly_fields = (
        "slug",
        "version",
        "title",
        "description",
        "validation_type",
        "engine",
        "image",
        "job",
        "command",
        "accepts",
        "ports",
        "outputs",
        "timeout_seconds",
        "memory_mb",
    )

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Validator | None = None) -> bool:
        return False
