"""Accounts in the admin."""

from typing import ClassVar

from allauth.account.decorators import secure_admin_login
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy

from validibot.accounts import waitlist
from validibot.accounts.models import (
    ApiKey,
    AuditEntry,
    Invitation,
    Membership,
    Organisation,
    Project,
    User,
    WaitlistEntry,
    WorkflowGrant,
)
from validibot.core.autocomplete import AutocompleteAdmin

# The one way to sign in: with its limits on tries, and only with a verified address.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


@admin.register(User)
class UserAdmin(BaseUserAdmin[User]):
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff")
    search_fields = ("email", "name")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        ("Person", {"fields": ("name",)}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "password1", "password2")}),)


class MembershipInline(AutocompleteAdmin, admin.TabularInline[Membership, Organisation]):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin[Organisation]):
    list_display = ("name", "slug", "personal_owner", "data_region", "created_at")
    list_filter = ("data_region",)
    search_fields = ("name", "slug")
    inlines: ClassVar = [MembershipInline]


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin[Project]):
    list_display = ("name", "organisation", "slug", "is_default")
    search_fields = ("name", "slug")


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin[ApiKey]):
    """Keys can be looked at and revoked here, never read."""

    list_display = (
        "name",
        "public_id",
        "user",
        "scopes",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    readonly_fields = ("user", "public_id", "scopes", "created_at", "last_used_at")
    exclude = ("digest",)


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin[Invitation]):
    """Read-only admin of invitations, for support."""

    list_display = (
        "email",
        "organisation",
        "role",
        "sent_at",
        "expires_at",
        "accepted_at",
        "revoked_at",
    )
    search_fields = ("email", "organisation__name")
    fields = readonly_fields = (
        *("organisation", "email", "role", "workflows", "access", "invited_by", "sent_at"),
        *("expires_at", "accepted_at", "accepted_by", "revoked_at"),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False


@admin.register(WorkflowGrant)
class WorkflowGrantAdmin(AutocompleteAdmin, admin.ModelAdmin[WorkflowGrant]):
    """Admin of what guests may see, for support."""

    list_display = ("user", "organisation", "workflow", "access", "created_at")
    search_fields = ("user__email", "organisation__name", "workflow")
    autocomplete_fields = ("user", "organisation")


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin[AuditEntry]):
    """The audit log of the site, of all organisations and accounts, for reading only."""

    list_display = ("at", "actor", "action", "target", "organisation", "address", "via")
    list_select_related = ("organisation",)
    list_filter = (
        ("organisation", admin.EmptyFieldListFilter),
        ("account", admin.EmptyFieldListFilter),
    )
    search_fields = ("actor", "action", "target", "organisation__slug", "request_id")
    ordering = ("-id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False


@admin.register(WaitlistEntry)
class WaitlistEntryAdmin(admin.ModelAdmin[WaitlistEntry]):
    """The waitlist; the action invites the chosen addresses, in bulk."""

    list_display = ("email", "created_at", "confirmed_at", "invited_at")
    list_filter = (
        ("confirmed_at", admin.EmptyFieldListFilter),
        ("invited_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("email",)
    readonly_fields = ("created_at", "confirmed_at", "invited_at")
    actions = ("invite",)

    @admin.action(description=gettext_lazy("Invite the chosen addresses"), permissions=["change"])
    def invite(self, request: HttpRequest, queryset: "QuerySet[WaitlistEntry]") -> None:
        chosen = list(queryset)
        try:
            count = waitlist.invite(chosen)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return
        told = _("%(count)d invited, %(left)d left out: not confirmed.")
        values = {"count": count, "left": len(chosen) - count}
        self.message_user(request, told % values, messages.SUCCESS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
