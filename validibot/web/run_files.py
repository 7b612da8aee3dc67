"""Downloads of a run: what was submitted, what its steps produced, and all of it as one archive."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.core.downloads import attachment, streamed, whole
from validibot.runs.access import visible_runs
from validibot.runs.export_files import KINDS, open_export, request_export
from validibot.runs.exports import FORMATS
from validibot.runs.models import Run
from validibot.submissions import content
from validibot.submissions.models import ReceivedFile
from validibot.web.scope import member, page


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
def export(request: HttpRequest, scope: Scope, pk: UUID, kind: str) -> HttpResponseBase:
    """Download the findings of a run for other programs, or what a task makes of it.

    While there is no file yet, the page of its progress is shown.
    """
    run = _exported(scope, pk)
    if kind in FORMATS and kind not in KINDS:
        return whole(FORMATS[kind].write(run), name=f"run-{pk}.{FORMATS[kind].extension}")
    if refusal := _refusal(request, scope, run, kind):
        return refusal
    made = request_export(run, kind)
    if (chunks := open_export(made)) is None:
        return redirect("run-export-progress", scope.organisation.slug, pk, kind)
    return streamed(chunks, name=f"run-{pk}.{KINDS[kind].extension}", size=made.size_bytes)


@member
@require_GET
def export_progress(request: HttpRequest, scope: Scope, pk: UUID, kind: str) -> HttpResponse:
    """Show whether a report or archive is being made, is ready or has failed."""
    run = _exported(scope, pk)
    if refusal := _refusal(request, scope, run, kind):
        return refusal
    org = scope.organisation.slug
    return page(
        request,
        scope,
        "export.html",
        export=request_export(run, kind),
        name=f"run-{pk}.{KINDS[kind].extension}",
        file_url=reverse("run-export", args=[org, pk, kind]),
        back_url=reverse("run", args=[org, pk]),
    )


def _exported(scope: Scope, pk: UUID) -> Run:
    runs = visible_runs(scope).select_related("submission", "workflow")
    return get_object_or_404(runs.defer("submission__inline"), pk=pk)


def _refusal(request: HttpRequest, scope: Scope, run: Run, kind: str) -> HttpResponse | None:
    """Return the page of a run that has not ended; raise Http404 for an unknown export."""
    if kind not in KINDS:
        raise Http404
    if run.ended_at is not None:
        return None
    messages.info(
        request, _("The run has not ended. Download its reports and archive when it has.")
    )
    return redirect("run", scope.organisation.slug, run.pk)
