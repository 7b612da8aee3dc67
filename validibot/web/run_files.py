"""Downloads of a run: what was submitted, what its steps produced, and all of it as one archive."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.core.downloads import attachment, streamed, whole
from validibot.runs.access import visible_runs
from validibot.runs.bundle import write_bundle
from validibot.runs.exports import FORMATS
from validibot.submissions import content
from validibot.submissions.models import ReceivedFile
from validibot.web.scope import member


@member
@require_GET
def artifact(request: HttpRequest, scope: Scope, pk: UUID, artifact_pk: int) -> HttpResponseBase:
    """Download an artifact."""
    owner = get_object_or_404(visible_runs(scope), pk=pk)
    found = get_object_or_404(owner.artifacts, pk=artifact_pk)
    return attachment(
        found.uri, version=found.storage_version, name=found.name, size=found.size_bytes
    )


@member
@require_GET
def submitted_file(request: HttpRequest, scope: Scope, pk: UUID, order: int) -> HttpResponseBase:
    """Download the submitted file (`order` 0), or one of those that were sent beside it."""
    run = get_object_or_404(visible_runs(scope).select_related("submission"), pk=pk)
    found: ReceivedFile = (
        get_object_or_404(run.submission.files, order=order) if order else run.submission
    )
    return streamed(content.stream(found), name=found.filename, size=found.size_bytes)


@member
@require_GET
def archive(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponseBase:
    """Download the files of a run and its evidence as a zip."""
    run = get_object_or_404(visible_runs(scope).select_related("submission"), pk=pk)
    return streamed(write_bundle(run), name=f"run-{run.pk}.zip")


@member
@require_GET
def export(request: HttpRequest, scope: Scope, pk: UUID, kind: str) -> HttpResponse:
    """Download the report of a run, or its findings in a format for other programs."""
    run = get_object_or_404(
        visible_runs(scope).select_related("submission", "workflow").defer("submission__inline"),
        pk=pk,
    )
    if kind not in FORMATS:
        raise Http404
    chosen = FORMATS[kind]
    if chosen.is_final and run.ended_at is None:
        messages.info(request, _("The run has not ended. Download the report when it has."))
        return redirect("run", scope.organisation.slug, pk)
    return whole(chosen.write(run), name=f"run-{pk}.{chosen.extension}")
