"""Actions on the runs that are selected in the list: cancel them, or run them again."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _, gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from validibot.accounts.scope import Scope
from validibot.runs.access import NotAdmitted, may_cancel
from validibot.runs.filters import RUNS_PER_PAGE
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Run
from validibot.runs.rerun import rerun
from validibot.web.runs import listed_runs
from validibot.web.scope import permitted

# Re-runs copy the submitted files while the request waits.
MAX_RERUN_BYTES = 100 * 1024 * 1024


class SelectionForm(forms.Form):
    """The selected runs, and what is to be done with them."""

    action = forms.ChoiceField(
        choices=[("cancel", gettext_lazy("Cancel")), ("rerun", gettext_lazy("Run again"))]
    )
    key = forms.RegexField("^[0-9a-f]{32}$", required=False)


@permitted("run.view_own")
@require_POST
def act_on_selected(request: HttpRequest, scope: Scope) -> HttpResponseBase:
    """Cancel the selected runs, or start each once more in the same version."""
    form = SelectionForm(request.POST)
    keys = _keys(request.POST.getlist("run"))
    if not form.is_valid():
        messages.error(request, _("Choose what is to be done with the runs: cancel, or run again."))
    elif not keys:
        messages.error(request, _("Select the runs first."))
    else:
        runs = list(listed_runs(scope).filter(pk__in=keys))
        if form.cleaned_data["action"] == "cancel":
            _cancel(request, scope, runs)
        else:
            _rerun(request, scope, runs, form.cleaned_data["key"])
    return redirect(_back(request, scope))


def _keys(texts: Sequence[str]) -> list[UUID]:
    """Return the ids of runs; no more than a page of the list has, and none that is not an id."""
    keys = []
    for text in texts[:RUNS_PER_PAGE]:
        try:
            keys.append(UUID(text))
        except ValueError:
            continue
    return keys


def _back(request: HttpRequest, scope: Scope) -> str:
    """Return the address of the list as it was filtered."""
    url = request.POST.get("back", "")
    listed = reverse("runs", args=[scope.organisation.slug])
    is_list = url.partition("?")[0] == listed
    safe = url_has_allowed_host_and_scheme(url, allowed_hosts=None)
    return url if is_list and safe else listed


def _cancel(request: HttpRequest, scope: Scope, runs: Sequence[Run]) -> None:
    allowed = [run for run in runs if may_cancel(scope, run)]
    canceled = sum(cancel_run(run.pk, actor=scope.user.email) for run in allowed)
    text = ngettext("%(count)d run was cancelled.", "%(count)d runs were cancelled.", canceled)
    messages.success(request, text % {"count": canceled})
    _say_refused(request, len(runs) - len(allowed))
    if ended := len(allowed) - canceled:
        text = ngettext("%(count)d run had ended.", "%(count)d runs had ended.", ended)
        messages.info(request, text % {"count": ended})


def _rerun(request: HttpRequest, scope: Scope, runs: Sequence[Run], key: str) -> None:
    """Start the runs again. A full quota ends this, as do too few credits: the next ones would be refused."""
    allowed = [run for run in runs if scope.can_launch(run.workflow.slug)]
    size = sum(
        file.size_bytes
        for run in allowed
        for file in (run.submission, *run.submission.further_files)
    )
    if size > MAX_RERUN_BYTES:
        sizes = {"size": filesizeformat(size), "limit": filesizeformat(MAX_RERUN_BYTES)}
        text = _(
            "The files of these runs have %(size)s; at most %(limit)s are run again at once. Select"
            " fewer runs."
        )
        messages.error(request, text % sizes)
        return
    started = 0
    for run in allowed:
        # Of two clicks on the same button the second finds the runs of the first.
        own = hashlib.sha256(f"{key} {run.pk}".encode()).hexdigest() if key else ""
        try:
            rerun(
                run,
                run.workflow,
                user=scope.user,
                source=Run.Source.LAUNCH_PAGE,
                idempotency_key=own,
            )
        except NotAdmitted as error:
            messages.error(request, f"{run.submission.shown_filename}: {error.message}")
            if error.status in (402, 429):
                break
            continue
        started += 1
    text = ngettext("%(count)d run was started.", "%(count)d runs were started.", started)
    messages.success(request, text % {"count": started})
    _say_refused(request, len(runs) - len(allowed))


def _say_refused(request: HttpRequest, count: int) -> None:
    if count:
        text = _("You may not do this with %(count)d of the runs.")
        messages.error(request, text % {"count": count})
