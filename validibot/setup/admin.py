"""Changes to the admin pages of other apps.

Deletion is confirmed with its extent and done in a background task: the pages are those of `accounts`,
`workflows` and `submissions`, which know nothing of runs. Changes of the site settings, whose app knows
no accounts, are written to the audit log. Second factors are shown without their
secrets; clients of providers stand in settings, not in the database.
"""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialApp, SocialToken
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from validibot.accounts import audit
from validibot.accounts.admin import OrganisationAdmin, UserAdmin
from validibot.accounts.models import Organisation
from validibot.core.admin import SiteSettingsAdmin
from validibot.core.models import SiteSettings
from validibot.runs.deletion import extent_of, request_deletion
from validibot.submissions.models import Submission
from validibot.workflows.admin import WorkflowAdmin
from validibot.workflows.models import Workflow


class BackgroundDeletion(admin.ModelAdmin[Any]):
    """Admin whose deletions state how much they remove and run in a background task."""

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        shown: list[Any] = []
        for obj in objs:
            shown += [str(obj), extent_of(obj).lines()]
        name = str(self.opts.verbose_name_plural)
        return shown, {name: len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        request_deletion(obj)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> None:
        for obj in queryset:
            request_deletion(obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        self.message_user(request, f"{obj_display} is deleted in the background.", messages.INFO)
        meta = self.opts
        return redirect(reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"))


class AuditedSiteSettingsAdmin(SiteSettingsAdmin):
    """Site settings whose changes stand in the audit log."""

    def save_model(
        self,
        request: HttpRequest,
        obj: SiteSettings,
        form: "ModelForm[SiteSettings]",
        change: bool,
    ) -> None:
        super().save_model(request, obj, form, change)
        changes = {
            name: (form.initial.get(name), form.cleaned_data[name]) for name in form.changed_data
        }
        audit.record(None, "site.settings_changed", obj, changes)


class DeletableOrganisationAdmin(BackgroundDeletion, OrganisationAdmin):
    """Organisation admin with deletion in the background."""


class DeletableUserAdmin(BackgroundDeletion, UserAdmin):
    """User admin with deletion in the background."""


class DeletableWorkflowAdmin(BackgroundDeletion, WorkflowAdmin):
    """Workflow admin with deletion in the background."""


@admin.register(Submission)
class SubmissionAdmin(BackgroundDeletion):
    """Read-only admin of submissions, which can be deleted."""

    list_display = ("filename", "organisation", "size_bytes", "created_at")
    list_select_related = ("organisation",)
    search_fields = ("filename", "sha256")
    exclude = ("inline",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class AuthenticatorAdmin(admin.ModelAdmin[Authenticator]):
    """Second factors: operators remove one that its user has lost, and see no secret."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    list_filter = ("type",)
    search_fields = ("user__email",)
    exclude = ("data",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


for _unused in (SocialApp, SocialToken):
    admin.site.unregister(_unused)
for _model, _admin in (
    (Authenticator, AuthenticatorAdmin),
    (SiteSettings, AuditedSiteSettingsAdmin),
    (Organisation, DeletableOrganisationAdmin),
    (get_user_model(), DeletableUserAdmin),
    (Workflow, DeletableWorkflowAdmin),
):
    admin.site.unregister(_model)
    admin.site.register(_model, _admin)
