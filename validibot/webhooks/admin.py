"""Webhooks in the admin site: what operators may see; messages cannot be changed."""

from django.contrib import admin
from django.http import HttpRequest

from validibot.webhooks.models import Webhook


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin[Webhook]):
    """Webhooks; an operator may switch one off."""

    list_display = ("name", "organisation", "is_active", "failing_since")
    list_filter = ("is_active",)
    search_fields = ("name", "organisation__slug")
    fields = ("organisation", "name", "url", "events", "style", "is_active", "disabled_reason")
    readonly_fields = ("organisation", "url", "events", "style")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # it belongs to an organisation, whose members add it
