"""Site settings and the register of periodic work in the admin site."""

from datetime import datetime

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy

from validibot.core.models import ScheduledWork, SiteSettings
from validibot.core.scheduled_work import declared, is_overdue, next_time, register


@admin.register(SiteSettings)
class SiteSettingsAdmin(admin.ModelAdmin[SiteSettings]):
    """The one row of site settings; the list leads straight to its form."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, str] | None = None
    ) -> HttpResponse:
        row, _created = SiteSettings.objects.get_or_create(id=1)
        return redirect(reverse("admin:core_sitesettings_change", args=[row.pk]))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SiteSettings | None = None) -> bool:
        return False


@admin.register(ScheduledWork)
class ScheduledWorkAdmin(admin.ModelAdmin[ScheduledWork]):
    """All periodic work with its times, and how the last pass ended; nothing can be changed."""

    list_display = ["name", "cron", "state", "started_at", "ended_at", "counts", "next"]
    ordering = ["name"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, str] | None = None
    ) -> HttpResponse:
        register()
        return super().changelist_view(request, extra_context)

    @admin.display(description=gettext_lazy("times (UTC)"))
    def cron(self, row: ScheduledWork) -> str:
        return declared().get(row.name, "")

    @admin.display(description=gettext_lazy("state"))
    def state(self, row: ScheduledWork) -> str:
        """Return one word, and the error of a pass that failed."""
        if row.started_at is None:
            return _("never ran")
        if is_overdue(row, timezone.now()):
            return _("overdue: is the scheduler running?")
        if row.ended_at is None or row.ended_at < row.started_at:
            return _("running, or its worker was lost")
        return _("failed: %s") % row.error if row.error else _("succeeded")

    @admin.display(description=gettext_lazy("last counts"))
    def counts(self, row: ScheduledWork) -> str:
        return ", ".join(f"{name}: {count:,}" for name, count in row.result.items() if count)

    @admin.display(description=gettext_lazy("next"))
    def next(self, row: ScheduledWork) -> datetime | None:
        return next_time(row.name, timezone.now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ScheduledWork | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ScheduledWork | None = None) -> bool:
        return False
