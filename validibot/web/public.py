"""Pages that a link shows to people without an account."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate
from uuid import UUID

from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache

from validibot.runs.models import Run, StepRun
from validibot.runs.rules import RULES_IN_FULL, StepFindings, findings_by_step


def by_link[**P](
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Keep a page whose address is a secret out of caches and of search engines.

    Other sites never learn the address: `Referrer-Policy` is `same-origin` everywhere, which forms
    need, because their check of the sender reads the referrer.
    """

    @never_cache
    @wraps(view)
    def wrapped(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        answer = view(request, *args, **kwargs)
        answer.headers["X-Robots-Tag"] = "noindex, nofollow, noarchive"
        return answer

    return wrapped


def public_result(pk: UUID) -> dict[str, Any]:
    """Return what a public page shows of a run, as `web/_step_run.html` takes it. Raises Http404.

    Nothing of it tells where the organisation keeps its files.
    """
    steps = StepRun.objects.select_related("step__validator")
    runs = Run.objects.select_related("workflow", "submission").defer("submission__inline")
    run = get_object_or_404(runs.prefetch_related(Prefetch("steps", steps)), pk=pk)
    found = findings_by_step(run.steps.all(), in_full=RULES_IN_FULL)
    for each in found.values():
        _hide_addresses(each)
    shown = [(each, found[each.pk]) for each in run.steps.all()]
    failed = next((each for each in shown if each[0].status == "FAILED"), None)
    return {"run": run, "steps": shown, "failed": failed, "is_shared": True}


def _hide_addresses(found: StepFindings) -> None:
    """Replace addresses in the storage of the product by an ellipsis."""
    address = re.compile(re.escape(settings.DATA_ROOT) + r"[^\s'\"]*")
    found.notes[:] = [address.sub("…", note) for note in found.notes]
    for finding in (each for rule in found.rules for each in rule.shown):
        finding.message = address.sub("…", finding.message)
        finding.path = address.sub("…", finding.path)
