"""Pages of links to a run: create and revoke them, and the page that a link opens."""

from uuid import UUID

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from validibot.accounts.scope import Scope
from validibot.runs.models import Run, RunShare
from validibot.runs.sharing import open_share, revoke, share, working
from validibot.web.forms import LifetimeField, refusals_on
from validibot.web.public import by_link, public_result
from validibot.web.runs import listed_runs
from validibot.web.scope import member, page, require


class ShareForm(forms.Form):
    """A new link to a run."""

    days = LifetimeField(1, 7, 30, 90, label=_("The link works for"), initial=7)


@member
@never_cache
@require_http_methods(["GET", "POST"])
def shares(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponse:
    """List the links to a run; POST creates one and shows it in this answer only."""
    run = _shareable(scope, pk)
    form = ShareForm(request.POST if request.method == "POST" else None)
    link = ""
    if form.is_valid():
        with refusals_on(form):
            token = share(run, user=scope.user, lifetime=form.cleaned_data["days"])
            link = f"{settings.SITE_URL}{reverse('shared-run', args=[token])}"
            form = ShareForm()
    open_links = set(working(run.shares.all()).values_list("pk", flat=True))
    links = [(each, each.pk in open_links) for each in run.shares.select_related("created_by")]
    status = 422 if form.errors else 200
    return page(
        request, scope, "shares.html", status=status, run=run, form=form, link=link, shares=links
    )


@member
@require_POST
def revoke_share(request: HttpRequest, scope: Scope, pk: UUID, share_pk: int) -> HttpResponseBase:
    """Revoke a link to a run."""
    found = get_object_or_404(RunShare, run=_shareable(scope, pk), pk=share_pk)
    revoke(found, user=scope.user)
    return redirect("shares", scope.organisation.slug, pk)


@by_link
@require_safe
def shared_run(request: HttpRequest, token: str) -> HttpResponse:
    """Show the run that a link leads to, without anything else of its organisation."""
    found = open_share(token)
    if found is None:
        answer = render(request, "web/share_closed.html", status=404)
    else:
        context = {**public_result(found.run_id), "share": found}
        answer = render(request, "web/shared_run.html", context)
    return answer


def _shareable(scope: Scope, pk: UUID) -> Run:
    """Return a run that the user sees and may share. Raises Http404 and PermissionDenied."""
    run = get_object_or_404(listed_runs(scope), pk=pk)
    require(scope, "run.launch")
    return run
