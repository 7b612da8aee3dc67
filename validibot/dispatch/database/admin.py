"""The entries of the database queue in the admin site, read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from procrastinate.contrib.django.models import ProcrastinateJob

from validibot.dispatch.database.models import QueuedTask

# The actions of this admin would run a task twice at the same time.
admin.site.unregister(ProcrastinateJob)


@admin.register(QueuedTask)
class QueuedTaskAdmin(admin.ModelAdmin[QueuedTask]):
    list_display = ("id", "__str__", "state", "attempts", "scheduled_at")
    list_filter = ("status",)
    fields = readonly_fields = list_display

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
