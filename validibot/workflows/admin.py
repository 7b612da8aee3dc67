"""Workflows and the validator catalogue in the admin site.

An edit of a version that has runs, or of one of its steps, assertions or files, is saved as the next
version.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy

from validibot.core.autocomplete import AutocompleteAdmin
from validibot.workflows.ai_endpoints import AiKeyForm
from validibot.workflows.models import (
    AiEndpoint,
    AiUsage,
    Assertion,
    OrganisationAiEndpoint,
    OwnAiUsage,
    Sample,
    Step,
    StepFile,
    Validator,
    WeatherFile,
    Workflow,
    WorkflowSchedule,
)
from validibot.workflows.schedules import pause
from validibot.workflows.versions import ASSERTION_FIELDS, NextVersion, next_version


class VersioningAdmin[M: Workflow | Step](admin.ModelAdmin[M]):
    """Admin that saves an edit of a frozen version, or of a part of it, as the next version."""

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        # Saved in save_related with the inline forms, where all changes are known.
        if not (change and _stored_version(obj).is_frozen):
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        obj = form.instance
        frozen = _stored_version(obj) if change else None
        if frozen is None or not frozen.is_frozen:
            super().save_related(request, form, formsets, change)
            return
        content = set(form.changed_data) - Workflow.EDITABLE_WHEN_FROZEN
        if not content and not any(formset.has_changed() for formset in formsets):
            if isinstance(obj, Workflow):
                obj.save()
            super().save_related(request, form, formsets, change)
            return
        made = next_version(frozen)
        _move_to_copy(obj, made)
        obj.save()
        for formset in formsets:
            _save_parts(formset, made, obj)
        self.message_user(
            request,
            f"Version {frozen.version} has runs and does not change. "
            f"Your edit was saved as version {made.workflow.version}.",
            messages.INFO,
        )


class AssertionForm(forms.ModelForm[Assertion]):
    """Text areas of two lines for expressions and messages; the model checks them."""

    class Meta:
        model = Assertion
        fields: ClassVar = list(ASSERTION_FIELDS)
        widgets: ClassVar = {
            name: forms.Textarea(attrs={"rows": 2})
            for name in ("expression", "when", "message", "success_message", "notes")
        }


class AssertionInline(admin.StackedInline[Assertion, Step]):
    model = Assertion
    form = AssertionForm
    extra = 0


class StepFileInline(admin.TabularInline[StepFile, Step]):
    """Read-only list of the files of a step, which setup stores."""

    model = StepFile
    extra = 0
    can_delete = False
    readonly_fields = ("port_key", "name", "type", "uri", "storage_version", "size_bytes", "sha256")

    def has_add_permission(self, request: Any, obj: Step | None = None) -> bool:
        return False


class StepInline(admin.TabularInline[Step, Workflow]):
    model = Step
    extra = 0
    fields = ("order", "name", "validator", "config", "weather", "scenario")
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
class WorkflowAdmin(AutocompleteAdmin, VersioningAdmin[Workflow]):
    list_display = ("name", "version", "organisation", "project", "is_active", "updated_at")
    list_filter = ("is_active", "organisation")
    list_select_related = ("organisation", "project")
    search_fields = ("name", "slug")
    readonly_fields = ("uuid", "version", "frozen_at", "created_at", "updated_at")
    autocomplete_fields = ("organisation", "project", "author")
    inlines: ClassVar = [StepInline, SampleInline]


@admin.register(Step)
class StepAdmin(AutocompleteAdmin, VersioningAdmin[Step]):
    list_display = ("name", "workflow", "order", "validator")
    list_select_related = ("workflow", "validator")
    search_fields = ("name", "workflow__name")
    autocomplete_fields = ("workflow", "validator")
    inlines: ClassVar = [AssertionInline, StepFileInline]

    def delete_model(self, request: HttpRequest, obj: Step) -> None:
        if obj.workflow.is_frozen:
            obj = next_version(obj.workflow).copy_of(obj)
        obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Step]) -> None:
        for step in queryset.select_related("workflow"):
            self.delete_model(request, step)


@admin.register(Validator)
class ValidatorAdmin(admin.ModelAdmin[Validator]):
    """Admin of the catalogue, which is synced from manifests; `price` and `is_active` are editable."""

    list_display = (
        "title",
        "version",
        "organisation",
        "validation_type",
        "price",
        "is_active",
        "updated_at",
    )
    list_filter = ("is_active", "validation_type")
    search_fields = ("title", "slug")
    readonly_fields = (
        "organisation",
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
        "default_assertions",
        "settings_json",
        "roles",
        "network",
        "secrets",
        "job_state",
        "job_error",
        "timeout_seconds",
        "memory_mb",
    )

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Validator | None = None) -> bool:
        return False


@admin.register(WeatherFile)
class WeatherFileAdmin(admin.ModelAdmin[WeatherFile]):
    """Read-only admin of the weather catalogue; `manage.py load_weather` adds to it."""

    list_display = ("name", "location", "updated_at")
    search_fields = ("name", "location")
    fields = readonly_fields = ("name", "location", "files", "updated_at")

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: WeatherFile | None = None) -> bool:
        return False


@admin.register(WorkflowSchedule)
class WorkflowScheduleAdmin(admin.ModelAdmin[WorkflowSchedule]):
    """The schedules of all organisations, for reading; a schedule can be paused or deleted."""

    list_display = [
        *("organisation", "workflow", "name", "cron", "time_zone"),
        *("next_at", "last_at", "error", "created_by"),
    ]
    list_filter = ["organisation"]
    list_select_related = ["organisation", "created_by"]
    actions = ["pause"]

    @admin.action(description=gettext_lazy("Pause the chosen schedules"), permissions=["delete"])
    def pause(self, request: HttpRequest, queryset: "QuerySet[WorkflowSchedule]") -> None:
        for schedule in queryset:
            pause(schedule, reason=_("An operator paused this schedule."))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: WorkflowSchedule | None = None
    ) -> bool:
        return False


class AiEndpointForm(AiKeyForm, forms.ModelForm[AiEndpoint]):
    """The endpoint with its key."""

    def save(self, commit: bool = True) -> AiEndpoint:
        key = self.cleaned_data["key"].strip()
        if key or self.cleaned_data["forget_key"]:
            self.instance.key = key
        return super().save(commit)


@admin.register(AiEndpoint)
class AiEndpointAdmin(admin.ModelAdmin[AiEndpoint]):
    """The one row of the AI endpoint; the list leads straight to its form."""

    form = AiEndpointForm
    fields = (
        *("url", "model", "key", "forget_key", "is_offered"),
        *("max_document_bytes", "max_answer_tokens", "timeout_seconds", "monthly_tokens"),
        *("currency", "prompt_price", "answer_price", "monthly_budget"),
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, str] | None = None
    ) -> HttpResponse:
        if AiEndpoint.objects.exists():
            return redirect(reverse("admin:workflows_aiendpoint_change", args=[1]))
        return redirect(reverse("admin:workflows_aiendpoint_add"))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with what the AI_ENDPOINT_… variables say, but for the key."""
        now = AiEndpoint.load()
        return {"url": now.url, "model": now.model}

    def has_add_permission(self, request: Any) -> bool:
        return super().has_add_permission(request) and not AiEndpoint.objects.exists()

    def has_delete_permission(self, request: Any, obj: AiEndpoint | None = None) -> bool:
        return False


class _ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Admin of rows of organisations that operators only read."""

    list_select_related = ("organisation",)
    search_fields = ("organisation__name", "organisation__slug")

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False


@admin.register(AiUsage, OwnAiUsage)
class AiUsageAdmin(_ReadOnlyAdmin):
    """Admin of what organisations used of the site's language model, or of their own."""

    list_display = ("organisation", "month", "tokens", "requests", "cost")


@admin.register(OrganisationAiEndpoint)
class OrganisationAiEndpointAdmin(_ReadOnlyAdmin):
    """Admin of the endpoints of organisations, without their addresses and keys."""

    list_display = ("organisation", "host", "model")
    fields = (
        *("organisation", "host", "model"),
        *("currency", "prompt_price", "answer_price", "monthly_budget"),
    )
    readonly_fields = ("host",)


def _stored_version(obj: Workflow | Step) -> Workflow:
    """Return the version of an object, read from the database."""
    if isinstance(obj, Workflow):
        return Workflow.objects.get(pk=obj.pk)
    return Step.objects.select_related("workflow").get(pk=obj.pk).workflow


def _move_to_copy(obj: Workflow | Step, made: NextVersion) -> None:
    """Give the edited object the identity of its copy in the next version."""
    if isinstance(obj, Step):
        obj.pk = made.copy_of(obj).pk
        obj.workflow = made.workflow
        return
    for name in ("pk", "uuid", "version", "frozen_at", "created_at"):
        setattr(obj, name, getattr(made.workflow, name))


def _save_parts(formset: Any, made: NextVersion, parent: Model) -> None:
    """Apply the edits of an inline formset to the copies in the next version."""
    edited: Iterable[Any] = formset.save(commit=False)
    for part in formset.deleted_objects:
        made.copy_of(part).delete()
    for part in edited:
        if part.pk:
            part.pk = made.copy_of(part).pk
        setattr(part, formset.fk.name, parent)
        part.save()
    formset.save_m2m()
