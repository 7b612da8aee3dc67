"""Downloads of a run: what was submitted, what its steps produced, and all of it as one archive."""

import json
from collections.abc import Iterator
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET
from zipstream import ZipStream

from validibot.accounts.scope import Scope
from validibot.core.downloads import attachment, streamed, whole
from validibot.core.storage import ObjectNotFound, get_storage
from validibot.runs.access import visible_runs
from validibot.runs.exports import FORMATS, as_json_lines
from validibot.runs.models import Artifact
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
    """Download the files of a run as a zip: submission, artifacts, findings and evidence."""
    run = get_object_or_404(visible_runs(scope).select_related("submission"), pk=pk)
    files = ZipStream()
    for file in (run.submission, *run.submission.further_files):
        files.add(_kept(content.stream(file)), f"submission/{_safe(file.filename)}")
    for each in run.artifacts.select_related("step_run"):
        folder = f"artifacts/step-{each.step_run.order}"
        files.add(_kept(_stored(each)), f"{folder}/{_safe(each.name)}")
    # Written here: the stream is read in other threads, which may not use this connection.
    files.add(as_json_lines(run), "findings.jsonl")
    if hasattr(run, "evidence"):
        files.add(json.dumps(run.evidence.manifest, indent=2), "evidence/manifest.json")
        files.add(json.dumps(run.evidence.contents, indent=2), "evidence/contents.json")
    return streamed(iter(files), name=f"run-{run.pk}.zip")


@member
@require_GET
def export(request: HttpRequest, scope: Scope, pk: UUID, kind: str) -> HttpResponse:
    """Download the findings of a run in a format for other programs."""
    run = get_object_or_404(
        visible_runs(scope).select_related("submission", "workflow").defer("submission__inline"),
        pk=pk,
    )
    if kind not in FORMATS:
        raise Http404
    chosen = FORMATS[kind]
    return whole(chosen.write(run), name=f"run-{pk}.{chosen.extension}")


def _stored(artifact: Artifact) -> Iterator[bytes]:
    return get_storage(artifact.uri).stream(artifact.uri, version=artifact.storage_version)


def _kept(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a file; a file that retention has removed is empty in the archive."""
    try:
        yield from chunks
    except ObjectNotFound:
        return


def _safe(name: str) -> str:
    """Return the name without what would make it a path in the archive."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "file"
