"""Access to the pages of the editor, and what all of them show."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from validibot.accounts.scope import Scope
from validibot.web.scope import member, page, require
from validibot.workflows.editing import token_of, versions_of
from validibot.workflows.models import Workflow

type AuthorView[**P] = Callable[Concatenate[HttpRequest, Scope, P], HttpResponseBase]
type EditView[**P] = Callable[Concatenate[HttpRequest, Scope, Workflow, P], HttpResponseBase]


def author[**P](view: AuthorView[P]) -> Callable[..., HttpResponseBase]:
    """Give the view the scope of a member who may edit workflows; 403 for other members."""

    @member
    @wraps(view)
    def wrapped(
        request: HttpRequest, scope: Scope, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        require(scope, "workflow.edit")
        return view(request, scope, *args, **kwargs)

    return wrapped


def editor[**P](view: EditView[P]) -> Callable[..., HttpResponseBase]:
    """Give the view the newest version of the workflow that `slug` names; 404 if there is none."""

    @member
    @wraps(view)
    def wrapped(
        request: HttpRequest, scope: Scope, /, *args: Any, slug: str, **kwargs: Any
    ) -> HttpResponseBase:
        if not scope.can_see(slug):
            raise Http404
        require(scope, "workflow.edit")
        return view(request, scope, newest_of(scope, slug), *args, **kwargs)

    return wrapped


def newest_of(scope: Scope, slug: str) -> Workflow:
    """Return the newest version of a workflow of the organisation. Raises Http404."""
    versions = Workflow.objects.filter(organisation=scope.organisation, slug=slug)
    found = versions.select_related("organisation", "project").order_by("-version").first()
    if found is None:
        raise Http404
    return found


def editor_page(
    request: HttpRequest,
    scope: Scope,
    workflow: Workflow,
    template: str,
    *,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """Render a page of the editor for a workflow, with its tabs and its token."""
    match = request.resolver_match
    return page(
        request,
        scope,
        f"editor/{template}",
        status=status,
        workflow=workflow,
        token=token_of(workflow),
        tabs=workflow_tabs(scope, workflow, match.url_name if match else ""),
        **context,
    )


def workflow_tabs(scope: Scope, workflow: Workflow, current: str | None) -> list[dict[str, Any]]:
    """Return the tabs above the pages of a workflow; only authors have more than one."""
    if not scope.can("workflow.edit"):
        return []
    places = {
        "workflow": (_("Run"), ()),
        "steps": (_("Steps"), ("add-step", "new-step", "step")),
        "edit-workflow": (_("Settings"), ()),
        "samples": (_("Samples"), ()),
        "schedules": (_("Schedules"), ("schedule",)),
        "sharing": (_("Sharing"), ()),
        "versions": (_("Versions"), ("compare-versions", "launch-version")),
    }
    return [
        {
            "url": reverse(name, args=[scope.organisation.slug, workflow.slug]),
            "text": text,
            "is_current": current in (name, *below),
        }
        for name, (text, below) in places.items()
    ]


def report_saved(request: HttpRequest, before: Workflow, after: Workflow) -> None:
    """Say which version an edit made or changed."""
    if after.version == before.version:
        messages.success(request, _("Saved."))
        return
    text = _(
        "Version %(old)s has runs and does not change. Your edit was saved as version %(new)s."
    )
    messages.success(request, text % {"old": before.version, "new": after.version})


def is_archived(workflow: Workflow) -> bool:
    return not versions_of(workflow).filter(is_active=True).exists()
