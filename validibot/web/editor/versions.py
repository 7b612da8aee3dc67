"""Pages of the versions of a workflow: the list, and what changed between two of them."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import takewhile

from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.web.editor.access import editor, editor_page
from validibot.workflows.document import write_workflow
from validibot.workflows.editing import versions_of
from validibot.workflows.exporting import describe
from validibot.workflows.models import Workflow

MAX_VERSIONS = 200
MAX_LINES = 5_000
# The time of a comparison grows with the square of the lines: about a second for these.
MAX_COMPARED = 5_000
_CONTEXT = 3
_MARKS = {"+": "added", "-": "removed", "@": "place"}


@editor
@require_GET
def versions(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponse:
    """List the versions, newest first."""
    listed = versions_of(workflow).annotate(run_count=Count("runs")).select_related("author")
    return editor_page(request, scope, workflow, "versions.html", versions=listed[:MAX_VERSIONS])


@editor
@require_GET
def compare_versions(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponse:
    """Show the difference of two versions as that of their files."""
    listed = list(versions_of(workflow)[:MAX_VERSIONS])
    old = _chosen(listed, request.GET.get("old"), default=min(1, len(listed) - 1))
    new = _chosen(listed, request.GET.get("new"), default=0)
    lines = list(difference(old, new))
    return editor_page(
        request,
        scope,
        workflow,
        "compare.html",
        old=old,
        new=new,
        lines=lines[:MAX_LINES],
        left_out=max(0, len(lines) - MAX_LINES),
        versions=listed,
    )


def _chosen(listed: Sequence[Workflow], number: str | None, *, default: int) -> Workflow:
    """Return the version with this number, or the one at `default`. Raises Http404."""
    if number is None:
        return listed[default]
    found = next((each for each in listed if str(each.version) == number), None)
    if found is None:
        raise Http404
    return found


def difference(old: Workflow, new: Workflow) -> Iterator[tuple[str, str]]:
    """Yield the lines of a unified difference, each with its kind."""
    before, after = _text(old).splitlines(), _text(new).splitlines()
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))))
    begin, longest = max(0, same - _CONTEXT), max(len(before), len(after))
    before, after = (lines[begin : begin + MAX_COMPARED] for lines in (before, after))
    for number, line in enumerate(difflib.unified_diff(before, after, lineterm="")):
        if number > 1:  # the two lines before name files
            kind = _MARKS.get(line[0], "")
            yield kind, _("…") if kind == "place" else line
    if longest > begin + MAX_COMPARED:
        text = _(
            "Only %(count)s lines from the first change on were compared. Export both versions."
        )
        yield "place", text % {"count": f"{MAX_COMPARED:,}"}


def _text(version: Workflow) -> str:
    """Return the file of a version with the digests of its files, not their content."""
    return write_workflow(describe(version, files={}))
