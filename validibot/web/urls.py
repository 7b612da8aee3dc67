"""Routes of the pages."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from validibot.web import (
    account_data,
    accounts,
    documents,
    findings,
    profile,
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
_organisation: list[URLPattern | URLResolver] = [
    path("workflows/", workflows.workflows, name="workflows"),
    path("workflows/<ident:slug>/", include(_workflow)),
    path("runs/", runs.runs, name="runs"),
    path("runs/<uuid:pk>/", include(_run)),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="home"), name="root"),
    path("app/", accounts.home, name="home"),
    path("app/users/profile/", profile.profile, name="profile"),
    path("app/users/data/", account_data.account_data, name="account-data"),
    path("app/users/data/export/", account_data.export, name="account-export"),
    path("app/users/delete/", account_data.delete_account, name="delete-account"),
    path("app/users/api-key/", accounts.api_keys, name="api-keys"),
    path("app/users/api-key/<int:pk>/revoke/", accounts.revoke_api_key, name="revoke-api-key"),
    path("app/orgs/<ident:org>/", include(_organisation)),
]
