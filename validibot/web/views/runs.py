"""The runs of an organisation, and the live page of one."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.core.downloads import attachment
from validibot.runs.access import visible_runs
from validibot.runs.cancel import cancel_run
from validibot.web.runs import listed_runs, run_context
from validibot.web.scope import member, page

PAGE_SIZE = 50


@member
@require_GET
def runs(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List runs, newest first."""
    shown = Paginator(listed_runs(scope), PAGE_SIZE).get_page(request.GET.get("page"))
    return page(request, scope, "runs.html", page=shown, runs=shown.object_list)


@member
@require_GET
def run(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponse:
    """Show a run; the page follows it by server-sent events until it ends."""
    return page(request, scope, "run.html", **run_context(scope, pk))


@member
@require_POST
def cancel(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponseBase:
    """Stop a run."""
    if not run_context(scope, pk)["may_cancel"]:
        raise PermissionDenied
    if not cancel_run(pk, actor=scope.user.email):
        messages.info(request, "The run had ended before it could be cancelled.")
    return redirect("run", scope.organisation.slug, pk)


@member
@require_GET
def artifact(request: HttpRequest, scope: Scope, pk: UUID, artifact_pk: int) -> HttpResponseBase:
    """Download an artifact."""
    owner = get_object_or_404(visible_runs(scope), pk=pk)
    found = get_object_or_404(owner.artifacts, pk=artifact_pk)
    return attachment(
        found.uri, version=found.storage_version, name=found.name, size=found.size_bytes
    )
