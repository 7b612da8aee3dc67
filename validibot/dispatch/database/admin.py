"""The queue in the admin site: to look at, and to give dead tasks another chance."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from procrastinate.contrib.django.models import ProcrastinateJob

from validibot.dispatch.database.models import STATES, QueuedTask
from validibot.dispatch.database.upkeep import requeue

# Its actions would run a task a second time beside the first.
admin.site.unregister(ProcrastinateJob)


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(STATES.items())

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[QueuedTask]
    ) -> QuerySet[QueuedTask]:
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(QueuedTask)
class QueuedTaskAdmin(admin.ModelAdmin[QueuedTask]):
    list_display = ("id", "task", "arguments", "state", "attempts", "scheduled_at", "error")
    list_filter = (StateFilter,)
    fields = readonly_fields = list_display
    actions = ("requeue",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        """The right to change a task is the right to requeue it: nothing else about it changes."""
        return request.user.has_perm("queue.change_queuedtask")

    @admin.action(description="Requeue dead tasks", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[QueuedTask]) -> None:
        chosen = list(queryset.values_list("pk", flat=True))
        count = requeue(chosen)
        level = messages.SUCCESS if count == len(chosen) else messages.WARNING
        text = f"{count} of {len(chosen)} tasks were dead and wait again."
        self.message_user(request, text, level)
