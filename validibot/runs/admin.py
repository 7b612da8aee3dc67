"""Runs in the admin site, read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from validibot.runs.models import (
    Artifact,
    Attempt,
    CallbackReceipt,
    ExportFile,
    Finding,
    IdempotencyKey,
    Run,
    RunEvent,
    RunEvidence,
    StepRun,
)


class ReadOnly(admin.ModelAdmin[Any]):
    """Admin of rows that only the product changes.

    Nor can they be deleted one by one: a result without some of its findings would be another one.
    """

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Rows(admin.TabularInline[Any, Any]):
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class StepRuns(Rows):
    model = StepRun
    fields = ("order", "step", "status", "error", "started_at", "ended_at")


class Events(Rows):
    model = RunEvent
    fields = ("at", "kind", "actor", "message", "data")


class Attempts(Rows):
    model = Attempt
    fields = ("number", "state", "execution", "image_digest", "error", "launched_at", "ended_at")


@admin.register(Run)
class RunAdmin(ReadOnly):
    list_display = ("id", "organisation", "workflow", "status", "error_category", "created_at")
    list_filter = ("status", "error_category", "source")
    list_select_related = ("organisation", "workflow")
    search_fields = ("id", "workflow__slug", "organisation__slug")
    date_hierarchy = "created_at"
    inlines = (StepRuns, Events)


@admin.register(StepRun)
class StepRunAdmin(ReadOnly):
    list_display = ("id", "run", "order", "status")
    list_filter = ("status",)
    inlines = (Attempts,)


@admin.register(Attempt)
class AttemptAdmin(ReadOnly):
    list_display = ("id", "state", "backend", "image", "execution", "created_at")
    list_filter = ("state", "backend")
    search_fields = ("id", "execution", "image_digest", "step_run__run__id")
    exclude = ("nonce_digest",)


@admin.register(CallbackReceipt)
class CallbackReceiptAdmin(ReadOnly):
    list_display = ("callback_id", "status", "deliveries", "received_at")
    list_filter = ("status",)
    search_fields = ("callback_id",)


@admin.register(Finding)
class FindingAdmin(ReadOnly):
    list_display = ("run_id", "severity", "code", "message")
    list_filter = ("severity",)
    search_fields = ("run__id", "code")


@admin.register(Artifact)
class ArtifactAdmin(ReadOnly):
    list_display = ("name", "run_id", "type", "size_bytes")
    search_fields = ("run__id", "name")


@admin.register(RunEvidence)
class RunEvidenceAdmin(ReadOnly):
    list_display = ("run_id", "manifest_sha256", "contents_sha256", "created_at")
    search_fields = ("run__id", "manifest_sha256", "contents_sha256")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnly):
    list_display = ("key", "organisation", "user", "run", "created_at")
    search_fields = ("key",)


@admin.register(ExportFile)
class ExportFileAdmin(ReadOnly):
    list_display = ("__str__", "state", "tries", "size_bytes", "requested_at")
    list_filter = ("state", "kind")
    list_select_related = ("run", "user")
    search_fields = ("run__id", "user__email")
