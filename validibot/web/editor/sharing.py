"""Page of the guests and the public links of a workflow: list, create and revoke links."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts.models import Membership, WorkflowGrant
from validibot.accounts.scope import Scope
from validibot.web import badges
from validibot.web.editor.access import editor, editor_page
from validibot.web.forms import LifetimeField, NameField, refusals_on
from validibot.workflows import badges as workflow_badges, links
from validibot.workflows.models import LaunchLink, Workflow

MAX_SHOWN = 200


class LinkForm(forms.Form):
    """A public link of a workflow."""

    name = NameField(
        label=gettext_lazy("Name"), help_text=gettext_lazy("For you: who gets the link.")
    )
    days = LifetimeField(1, 7, 30, 90, 365, label=gettext_lazy("The link works for"), initial=7)
    max_launches = forms.IntegerField(
        label=gettext_lazy("Most runs"), min_value=1, max_value=links.MAX_LAUNCHES, initial=20
    )


@editor
@never_cache
@require_http_methods(["GET", "POST"])
def sharing(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponse:
    """List the public links of a workflow; create one and show it once."""
    form, url = LinkForm(request.POST if request.method == "POST" else None), ""
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        with refusals_on(form):
            _link, token = links.create(
                workflow,
                user=scope.user,
                name=values["name"],
                lifetime=values["days"],
                max_launches=values["max_launches"],
            )
            url = settings.SITE_URL + reverse("launch-link", args=[token])
            form = LinkForm()
    grants = WorkflowGrant.objects.filter(
        organisation=scope.organisation, workflow=workflow.slug
    ).select_related("user")
    return editor_page(
        request,
        scope,
        workflow,
        "sharing.html",
        form=form,
        new_url=url,
        links=_listed_links(workflow),
        grants=grants[:MAX_SHOWN],
        may_invite=scope.can("member.manage"),
        badge=badges.snippets(workflow),
        status=422 if form.errors else 200,
    )


def _listed_links(workflow: Workflow) -> "QuerySet[LaunchLink]":
    """Return the links; `by_member` tells whether the creator is still a member."""
    members = Membership.objects.filter(
        organisation=OuterRef("organisation"), user=OuterRef("created_by"), user__is_active=True
    )
    listed = links.links_of(workflow).select_related("created_by")
    return listed.annotate(by_member=Exists(members))[:MAX_SHOWN]


@editor
@require_POST
def revoke_link(
    request: HttpRequest, scope: Scope, workflow: Workflow, pk: int
) -> HttpResponseBase:
    """End a public link."""
    links.revoke(get_object_or_404(links.links_of(workflow), pk=pk), user=scope.user)
    messages.success(request, _("Link revoked."))
    return redirect("sharing", scope.organisation.slug, workflow.slug)


@editor
@require_POST
def switch_badge(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """Create the badge of a workflow, or end the one that it has."""
    if request.POST.get("badge") == "on":
        workflow_badges.create(workflow, user=scope.user)
        messages.success(request, _("Badge created."))
    else:
        workflow_badges.remove(workflow)
        messages.success(request, _("Badge ended. Pages that show it get no image any more."))
    return redirect("sharing", scope.organisation.slug, workflow.slug)
