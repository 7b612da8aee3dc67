"""Dead letters in the admin site: list them, requeue them, delete them."""

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from validibot.dispatch.delivery import requeue
from validibot.dispatch.models import DeadLetter


@admin.register(DeadLetter)
class DeadLetterAdmin(admin.ModelAdmin[DeadLetter]):
    list_display = ("created_at", "__str__", "attempts", "error")
    fields = readonly_fields = ("task_id", *list_display)
    actions = ("requeue",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("dispatch.change_deadletter")

    @admin.action(description="Requeue dead letters", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        unknown = [str(letter) for letter in queryset if not requeue(letter)]
        if unknown:
            text = f"This version has no such task: {', '.join(unknown)}"
            self.message_user(request, text, messages.ERROR)
        else:
            self.message_user(request, "The tasks are on the queue again.", messages.SUCCESS)
