"""Notifications in the admin site: mails that wait or were refused, for reading only."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from validibot.notifications.models import Channel, Notification


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin[Notification]):
    """Mails of notifications with their state."""

    list_display = ("created_at", "user", "organisation", "result", "rhythm", "ended_at", "error")
    list_filter = ("rhythm", ("ended_at", admin.EmptyFieldListFilter))
    search_fields = ("user__email", "organisation__slug", "run")
    list_select_related = ("user", "organisation")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Notification]":
        return super().get_queryset(request).filter(channel=Channel.MAIL)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False
