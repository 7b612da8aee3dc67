"""Support requests in the admin site: read them, and mark them as answered."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from validibot.support.models import SupportRequest


@admin.register(SupportRequest)
class SupportRequestAdmin(admin.ModelAdmin[SupportRequest]):
    """Requests, newest first; only the mark changes."""

    list_display = ("created_at", "subject", "email", "user", "run", "answered_at")
    list_select_related = ("user",)
    list_filter = (("answered_at", admin.EmptyFieldListFilter),)
    search_fields = ("email", "subject", "message", "run")
    fields = ("created_at", "user", "email", "subject", "message", "run_page", "answered_at")
    readonly_fields = fields
    actions = ("mark_answered",)

    @admin.action(description=gettext_lazy("Mark as answered"), permissions=["change"])
    def mark_answered(self, request: HttpRequest, queryset: "QuerySet[SupportRequest]") -> None:
        queryset.filter(answered_at=None).update(answered_at=timezone.now())

    @admin.display(description=gettext_lazy("run"))
    def run_page(self, row: SupportRequest) -> str:
        return format_html('<a href="{0}">{0}</a>', row.run_url) if row.run else ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
