"""Tracking events in the admin site: filters, and an export of the chosen ones."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext_lazy

from validibot.core.downloads import streamed
from validibot.tracking.events import write_csv, write_jsonl
from validibot.tracking.models import TrackingEvent


@admin.register(TrackingEvent)
class TrackingEventAdmin(admin.ModelAdmin[TrackingEvent]):
    """Events, newest first, for reading only."""

    list_display = ("at", "name", "actor_id", "organisation", "extra")
    list_filter = ("name", "at")
    list_select_related = ("organisation",)
    search_fields = ("organisation__slug",)
    show_full_result_count = False
    actions = ("export_csv", "export_jsonl")

    @admin.action(description=gettext_lazy("Export the chosen events as CSV"))
    def export_csv(
        self, request: HttpRequest, queryset: "QuerySet[TrackingEvent]"
    ) -> StreamingHttpResponse:
        return streamed(write_csv(queryset.order_by("pk")), name="events.csv")

    @admin.action(description=gettext_lazy("Export the chosen events as JSON Lines"))
    def export_jsonl(
        self, request: HttpRequest, queryset: "QuerySet[TrackingEvent]"
    ) -> StreamingHttpResponse:
        return streamed(write_jsonl(queryset.order_by("pk")), name="events.jsonl")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TrackingEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: TrackingEvent | None = None) -> bool:
        return False
