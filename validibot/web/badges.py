"""The badge of a workflow: an SVG image of its last result, made here without any service."""

import hashlib
from dataclasses import dataclass

from django.conf import settings
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.utils.text import Truncator
from django.views.decorators.http import require_safe

from validibot.runs.models import Run
from validibot.workflows import badges
from validibot.workflows.models import Workflow, WorkflowBadge

CACHE_SECONDS = 60
_MOST_CHARACTERS = 40
# The colours have a contrast of 4.5 or more with white.
_RESULTS = {
    "PASS": ("passing", "#1a7f37"),
    "FAIL": ("failing", "#c92a2a"),
    "ERROR": ("error", "#a04100"),
    "TIMED_OUT": ("timed out", "#a04100"),
}
_NO_RUNS = ("no runs", "#57606a")
# The average of a letter at a size of 11; the image stretches the text to the width that is assumed.
_LETTER_WIDTH = 6.6
_PADDING = 10


@dataclass(frozen=True, slots=True)
class BadgeSnippet:
    """The path of a badge on this server, and Markdown that shows it with a link to the workflow."""

    path: str
    markdown: str


def snippets(workflow: Workflow) -> BadgeSnippet | None:
    """Return how the badge of a workflow is shown, or None if it has none."""
    found = badges.badge_of(workflow)
    if found is None:
        return None
    path = reverse("badge", args=[found.token])
    page = reverse("workflow", args=[workflow.organisation.slug, workflow.slug])
    name = "".join(c for c in workflow.name if c not in "[]\\")
    markdown = f"[![{name}]({settings.SITE_URL}{path})]({settings.SITE_URL}{page})"
    return BadgeSnippet(path, markdown)


@require_safe
def badge(request: HttpRequest, token: str) -> HttpResponseBase:
    """Answer with the badge, or 304 if the client has it already."""
    found = badges.find(token)
    workflow = _newest(found) if found else None
    if workflow is None:
        raise Http404
    content = _image(workflow.name, *_RESULTS.get(_last_result(workflow), _NO_RUNS)).encode()
    etag = quote_etag(hashlib.sha256(content).hexdigest()[:32])
    headers = {
        "Cache-Control": f"public, max-age={CACHE_SECONDS}",
        "ETag": etag,
        "X-Robots-Tag": "noindex",
    }
    answer = HttpResponse(content, "image/svg+xml; charset=utf-8", headers=headers)
    conditional = get_conditional_response(request, etag=etag, response=answer)
    assert conditional is not None
    return conditional


def _newest(found: WorkflowBadge) -> Workflow | None:
    versions = Workflow.objects.filter(organisation=found.organisation_id, slug=found.workflow)
    return versions.order_by("-version").first()


def _last_result(workflow: Workflow) -> str:
    """Return the result of the last run of any version that ended with one, or an empty text."""
    # A look into the index for each version, however many runs there are.
    ended = (
        Run.objects.filter(workflow=OuterRef("pk"), status__in=("SUCCEEDED", "FAILED", "TIMED_OUT"))
        .exclude(source=Run.Source.TRIAL)
        .order_by("-created_at")
    )
    newest = (
        Workflow.objects.filter(organisation=workflow.organisation_id, slug=workflow.slug)
        .annotate(run=Subquery(ended.values("pk")[:1]), at=Subquery(ended.values("created_at")[:1]))
        .exclude(run=None)
        .order_by("-at")
        .values_list("run", flat=True)
        .first()
    )
    run = Run.objects.filter(pk=newest).first() if newest else None
    return run.result if run else ""


def _image(name: str, result: str, colour: str) -> str:
    """Return the image: the name on the left, the result in its colour on the right."""
    label = Truncator(name).chars(_MOST_CHARACTERS)
    left, right = (round(len(text) * _LETTER_WIDTH) + 2 * _PADDING for text in (label, result))
    context = {
        "label": label,
        "result": result,
        "colour": colour,
        "left": left,
        "right": right,
        "width": left + right,
        "label_at": left / 2,
        "label_width": left - 2 * _PADDING,
        "result_at": left + right / 2,
        "result_width": right - 2 * _PADDING,
    }
    return render_to_string("web/badge.svg", context)
