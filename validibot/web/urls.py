"""Routes of the pages."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from validibot.web import (
    account_data,
    documents,
    findings,
    keys,
    members,
    organisations,
    profile,
    projects,
    run_files,
    runs,
    stream,
    workflows,
)

_workflow = [
    path("", workflows.workflow, name="workflow"),
    path("samples/<int:pk>/", workflows.sample, name="sample"),
    path("samples/<int:pk>/launch/", workflows.launch_sample, name="launch-sample"),
]
_run = [
    path("", runs.run, name="run"),
    path("stream/", stream.run_stream, name="run-stream"),
    path("cancel/", runs.cancel, name="cancel-run"),
    path("rerun/", runs.rerun_run, name="rerun-run"),
    path("compare/<uuid:other>/", runs.comparison, name="compare-runs"),
    path("steps/<int:order>/findings/", findings.findings, name="findings"),
    path("document/", documents.document, name="document"),
    path("files/<int:order>/", run_files.submitted_file, name="submitted-file"),
    path("artifacts/<int:artifact_pk>/", run_files.artifact, name="artifact"),
    path("archive/", run_files.archive, name="run-archive"),
    path("export/<slug:kind>/", run_files.export, name="run-export"),
]
_settings: list[URLPattern | URLResolver] = [
    path("", organisations.settings, name="organisation-settings"),
    path("leave/", organisations.leave, name="leave-organisation"),
    path("delete/", organisations.delete, name="delete-organisation"),
    path("roles/", organisations.roles, name="roles"),
    path("members/", members.members, name="members"),
    path("members/<int:pk>/role/", members.change_role, name="change-role"),
    path("members/<int:pk>/remove/", members.remove, name="remove-member"),
    path("invited/<int:pk>/resend/", members.resend, name="resend-invitation"),
    path("invited/<int:pk>/revoke/", members.revoke, name="revoke-invitation"),
    path("guests/", members.guests, name="guests"),
    path("guests/<int:pk>/", members.guest, name="guest"),
    path("guests/<int:pk>/remove/", members.remove_guest, name="remove-guest"),
    path("projects/", projects.projects, name="projects"),
    path("projects/<int:pk>/", projects.project, name="project"),
    path("projects/<int:pk>/default/", projects.make_default, name="default-project"),
    path("projects/<int:pk>/delete/", projects.delete, name="delete-project"),
    path("keys/", keys.service_keys, name="service-keys"),
    path("keys/<int:pk>/rotate/", keys.rotate_service_key, name="rotate-service-key"),
    path("keys/<int:pk>/revoke/", keys.revoke_service_key, name="revoke-service-key"),
]
_organisation: list[URLPattern | URLResolver] = [
    path("workflows/", workflows.workflows, name="workflows"),
    path("workflows/<ident:slug>/", include(_workflow)),
    path("settings/", include(_settings)),
    path("runs/", runs.runs, name="runs"),
    path("runs/<uuid:pk>/", include(_run)),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="home"), name="root"),
    path("app/", organisations.home, name="home"),
    path("app/users/profile/", profile.profile, name="profile"),
    path("app/users/data/", account_data.account_data, name="account-data"),
    path("app/users/data/export/", account_data.export, name="account-export"),
    path("app/users/delete/", account_data.delete_account, name="delete-account"),
    path("app/users/api-key/", keys.api_keys, name="api-keys"),
    path("app/users/api-key/<int:pk>/rotate/", keys.rotate_api_key, name="rotate-api-key"),
    path("app/users/api-key/<int:pk>/revoke/", keys.revoke_api_key, name="revoke-api-key"),
    path("app/orgs/", organisations.organisations, name="organisations"),
    path("app/orgs/<ident:org>/", include(_organisation)),
    path("invitations/<str:token>/", members.invitation, name="invitation"),
]
