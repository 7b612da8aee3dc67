"""Routes of the public API. Every path ends in a slash: clients follow no redirects."""

from django.urls import URLPattern, URLResolver, include, path

from validibot.api import (
    audit,
    dashboards,
    event_stream,
    keys,
    notifications,
    organisation,
    pages,
    personal_keys,
    schedules,
    submissions,
    usage,
    views,
    webhooks,
    workflows,
)

_version: list[URLPattern | URLResolver] = [
    path("runs/", views.WorkflowRunsView.as_view()),
    path("export/<slug:kind>/", workflows.WorkflowExportView.as_view()),
]
_workflow: list[URLPattern | URLResolver] = [
    path("", workflows.WorkflowView.as_view()),
    path("schedules/", schedules.SchedulesView.as_view()),
    path("schedules/<int:schedule>/", schedules.ScheduleView.as_view()),
    path("schedules/<int:schedule>/run/", schedules.ScheduleRunView.as_view()),
    path("versions/", workflows.WorkflowVersionsView.as_view()),
    path("versions/<version:version>/", workflows.WorkflowVersionView.as_view()),
    path("versions/<version:version>/", include(_version)),
    *_version,
]
_run = [
    path("", views.RunView.as_view()),
    path("events/", views.RunEventsView.as_view()),
    path("events/stream/", event_stream.RunEventStreamView.as_view()),
    path("progress/", views.RunProgressView.as_view()),
    path("evidence/", views.RunEvidenceView.as_view()),
    path("evidence/contents/", views.RunEvidenceContentsView.as_view()),
    path("cancel/", views.RunCancelView.as_view()),
    path("rerun/", views.RunRerunView.as_view()),
    path("retry/", views.RunRetryView.as_view()),
    path("findings/", views.RunFindingsView.as_view()),
    path("export/<slug:kind>/", views.RunExportView.as_view()),
    path("files/<int:order>/", views.SubmittedFileView.as_view()),
    path("artifacts/<int:artifact>/", views.ArtifactView.as_view()),
]
_submission = [
    path("", submissions.SubmissionView.as_view()),
    path("files/<int:order>/", submissions.SubmissionFileView.as_view()),
]
_webhook = [
    path("", webhooks.WebhookView.as_view()),
    path("secret/", webhooks.WebhookSecretView.as_view()),
    path("test/", webhooks.WebhookTestView.as_view()),
    path("deliveries/", webhooks.DeliveriesView.as_view()),
    path("deliveries/<uuid:delivery>/resend/", webhooks.DeliveryResendView.as_view()),
]
_organisation: list[URLPattern | URLResolver] = [
    path("", views.OrganisationView.as_view()),
    path("workflows/", workflows.WorkflowsView.as_view()),
    path("workflows/<ident:workflow>/", include(_workflow)),
    path("projects/", organisation.ProjectsView.as_view()),
    path("members/", organisation.MembersView.as_view()),
    path("validators/", organisation.ValidatorsView.as_view()),
    path("submissions/", submissions.SubmissionsView.as_view()),
    path("submissions/<uuid:submission>/", include(_submission)),
    path("webhooks/", webhooks.WebhooksView.as_view()),
    path("webhooks/<int:webhook>/", include(_webhook)),
    path("keys/", keys.KeysView.as_view()),
    path("keys/<int:key>/rotate/", keys.KeyRotateView.as_view()),
    path("keys/<int:key>/revoke/", keys.KeyRevokeView.as_view()),
    path("credits/", usage.CreditsView.as_view()),
    path("credits/usage/", usage.UsageView.as_view()),
    path("credits/ledger/", usage.LedgerView.as_view()),
    path("notification-preferences/", notifications.NotificationPreferencesView.as_view()),
    path("audit/", audit.AuditView.as_view()),
    path("audit/export/", audit.AuditExportView.as_view()),
    path("figures/", dashboards.FiguresView.as_view()),
    path("weather/", views.WeatherView.as_view()),
    path("runs/", views.RunsView.as_view()),
    path("runs/<uuid:run>/", include(_run)),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", pages.openapi_document, name="api-schema"),
    path("docs/", pages.SwaggerPage.as_view()),
    path("redoc/", pages.RedocPage.as_view()),
    path("auth/me/", views.MeView.as_view()),
    path("users/me/", views.MeView.as_view()),
    path("users/me/keys/", personal_keys.PersonalKeysView.as_view()),
    path("users/me/keys/<int:key>/rotate/", personal_keys.PersonalKeyRotateView.as_view()),
    path("users/me/keys/<int:key>/revoke/", personal_keys.PersonalKeyRevokeView.as_view()),
    path("users/me/notifications/", notifications.NotificationsView.as_view()),
    path("users/me/notifications/read/", notifications.NotificationsReadView.as_view()),
    path("orgs/", views.OrganisationsView.as_view()),
    path("orgs/<ident:org>/", include(_organisation)),
]
