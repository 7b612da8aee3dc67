"""Public pages of a launch link: start a run without an account, and see its result.

They show the workflow's name, description and inputs, and the findings of the runs that were started
with the link; nothing else of the organisation. Launches are limited by the link and by address.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from validibot.core.site_limits import largest_file
from validibot.core.throttle import FailureLimit, client_address
from validibot.runs.access import NotAdmitted, check_runnable
from validibot.runs.models import Run
from validibot.runs.start import OriginTaken, RunOrigin, start
from validibot.submissions.intake import IntakeError, read_metadata, receive
from validibot.web.inputs_form import InputsForm
from validibot.web.public import by_link, public_result
from validibot.workflows import links
from validibot.workflows.images import image_of
from validibot.workflows.models import LaunchLink, Workflow
from validibot.workflows.select import (
    WorkflowNotFound,
    accepted_extensions,
    find_workflow,
    takes_further_files,
)

# Launches of one link from one address; every one counts, not only those that fail.
LAUNCHES = FailureLimit("launch-link", count=20, seconds=600)


@by_link
@require_http_methods(["GET", "POST"])
def launch_link(request: HttpRequest, token: str) -> HttpResponseBase:
    """Show the public page of a workflow; take a file for it."""
    link = links.find(token)
    workflow = _workflow(link) if link else None
    if link is None or workflow is None or not (link.is_open and workflow.is_active):
        status = 404 if link is None or workflow is None else 410
        return render(request, "web/launch_link_closed.html", {"link": link}, status=status)
    if request.method == "GET":
        return _show(request, link, workflow)
    try:
        run = _launch(request, link, workflow)
    except (IntakeError, NotAdmitted) as error:
        return _show(request, link, workflow, error=error)
    return redirect("launched-run", token, links.sign_run(link, run.pk))


@by_link
@require_GET
def launched_run(request: HttpRequest, token: str, run: str) -> HttpResponse:
    """Show the result of a run that was started with the link."""
    link = links.find(token)
    key = links.signed_run(link, run) if link and not link.revoked_at else None
    if link is None or key is None:
        raise Http404
    context = {**public_result(key), "link": link, "token": token}
    return render(request, "web/launched_run.html", context)


def _workflow(link: LaunchLink) -> Workflow | None:
    try:
        return find_workflow(link.organisation, link.workflow)
    except WorkflowNotFound:
        return None


def _launch(request: HttpRequest, link: LaunchLink, workflow: Workflow) -> Run:
    """Start a run. Raises IntakeError and NotAdmitted."""
    if wait := LAUNCHES.exceeded_after(f"{link.pk}:{client_address(request)}"):
        message = _("Too many files came from your address. Try again in %(minutes)d minutes.")
        text = message % {"minutes": wait // 60 + 1}
        raise NotAdmitted("TOO_MANY_LAUNCHES", text, status=429, retry_after=wait)
    with _without_organisation():
        check_runnable(workflow)
    with receive(request) as incoming:
        metadata: Any = incoming.metadata
        if workflow.input_schema:
            metadata |= InputsForm(workflow, request.POST).metadata()
        # The sender chooses the file and the inputs, nothing about how the workflow runs.
        taken = replace(incoming, metadata=read_metadata(metadata), scenario="", weather="")
        origin = RunOrigin(link=link)
        try:
            with _without_organisation():
                return start(workflow, taken, user=None, source=Run.Source.LINK, origin=origin).run
        except OriginTaken as error:
            text = _("This link starts no further runs.")
            raise NotAdmitted("LINK_CLOSED", text, status=410) from error


@contextmanager
def _without_organisation() -> Iterator[None]:
    """Keep what a refusal says of the organisation from the sender, such as its quota.

    Faults of what was sent have a field, and are shown as they are.
    """
    try:
        yield
    except NotAdmitted as error:
        if error.field:
            raise
        text = _("The workflow takes no files at the moment. Try again later.")
        raise NotAdmitted(
            error.code, text, status=error.status, retry_after=error.retry_after
        ) from error


def _show(
    request: HttpRequest,
    link: LaunchLink,
    workflow: Workflow,
    *,
    error: IntakeError | NotAdmitted | None = None,
) -> HttpResponse:
    faults = error.inputs if isinstance(error, NotAdmitted) else {}
    sent = request.POST if request.method == "POST" else None
    context = {
        "link": link,
        "token": request.resolver_match.kwargs["token"] if request.resolver_match else "",
        "image": image_of(workflow),
        "workflow": workflow,
        "inputs": InputsForm(workflow, sent, faults=faults),
        "accepted": sorted(accepted_extensions(workflow)),
        "takes_further_files": takes_further_files(workflow),
        "limit": largest_file(),
        "problem": error.message if error and not faults else "",
    }
    answer = render(request, "web/launch_link.html", context, status=error.status if error else 200)
    if isinstance(error, NotAdmitted):
        for name, value in error.headers.items():
            answer.headers[name] = value
    return answer
