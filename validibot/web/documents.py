"""The submitted document on a page: the lines around a place of which a finding speaks."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.core.storage import ObjectNotFound
from validibot.runs.access import visible_runs
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.web.parameters import positive_number
from validibot.web.scope import member, page

LINES_BEFORE, LINES_AFTER = 12, 60
# A longer line is cut, so that a document without line breaks can be shown.
MAX_LINE = 2000
# A line is looked for in so many bytes; a page must not read a gigabyte.
MAX_READ_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the document: its number from 1, and its text around the marked column."""

    number: int
    text: str
    is_marked: bool


class NotText(Exception):
    """The document cannot be shown; the message says why."""


@member
@require_GET
def document(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponse:
    """Show the submitted document from a few lines before `line`, which is marked."""
    run = get_object_or_404(visible_runs(scope).select_related("workflow", "submission"), pk=pk)
    line, column = (positive_number(request.GET.get(name, "")) for name in ("line", "column"))
    lines, problem = [], ""
    try:
        lines = lines_around(run.submission, line, column)
    except NotText as error:
        problem = str(error)
    return page(request, scope, "document.html", run=run, lines=lines, line=line, problem=problem)


def lines_around(submission: Submission, line: int, column: int = 0) -> list[Line]:
    """Return the lines around `line`, from the first one if it is 0. Raises NotText.

    Reads no more than up to the last line that is shown, and at most MAX_READ_BYTES.
    """
    first = max(1, line - LINES_BEFORE)
    try:
        texts = islice(_lines(content.stream(submission)), first - 1, max(line, 1) + LINES_AFTER)
        return [
            Line(number, _cut(text, column if number == line else 0), number == line)
            for number, text in enumerate(texts, start=first)
        ]
    except ObjectNotFound as error:
        raise NotText(_("The file is not kept any more.")) from error


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of UTF-8, or of UTF-16 with a byte order mark; line ends are not kept."""
    decoder: codecs.IncrementalDecoder | None = None
    begun: list[str] = []
    size = 0
    for chunk in chunks:
        if decoder is None:
            wide = chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            if not wide and b"\x00" in chunk:
                raise NotText(_("This file is not text. Download it to see it."))
            decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")("replace")
        size += len(chunk)
        if size > MAX_READ_BYTES:
            told = _("The place lies beyond the first %(count)s MB. Download the file to see it.")
            raise NotText(told % {"count": MAX_READ_BYTES // 1024**2})
        first, *others = decoder.decode(chunk).split("\n")
        begun.append(first)
        for other in others:
            yield "".join(begun).removesuffix("\r")
            begun = [other]
    if last := "".join(begun):
        yield last.removesuffix("\r")


def _cut(text: str, column: int) -> str:
    """Return at most MAX_LINE characters of a line, with those around `column`."""
    if len(text) <= MAX_LINE:
        return text
    start = max(0, min(column - MAX_LINE // 2, len(text) - MAX_LINE))
    head, tail = "…" if start else "", "…" if start + MAX_LINE < len(text) else ""
    return f"{head}{text[start : start + MAX_LINE]}{tail}"
