"""The pages of webhooks: a list with a form for a new one, and a page for each with its deliveries."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts.scope import Scope
from validibot.web.forms import NameField, refusals_on
from validibot.web.scope import page, permitted
from validibot.webhooks import editing
from validibot.webhooks.delivery import resend
from validibot.webhooks.models import EventKind, MessageStyle, Webhook
from validibot.webhooks.signing import secret_of

DELIVERIES_PER_PAGE = 50


class WebhookForm(forms.Form):
    """The address of a webhook, its events and the style of its messages."""

    name = NameField(label=gettext_lazy("Name"), max_length=100)
    url = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=500,
        widget=forms.URLInput({"placeholder": "https://example.org/hooks/validibot"}),
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=EventKind.choices,
        initial=[EventKind.RUN_FAILED, EventKind.RUN_ERROR, EventKind.RUN_TIMED_OUT],
        widget=forms.CheckboxSelectMultiple,
    )
    style = forms.ChoiceField(label=gettext_lazy("Style"), choices=MessageStyle.choices)


@permitted("webhook.manage")
@require_http_methods(["GET", "POST"])
def webhooks(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the webhooks; POST creates one."""
    form = WebhookForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            made = editing.create(scope, **form.cleaned_data)
            messages.success(request, _("Webhook created. Its secret is on this page."))
            return redirect("webhook", scope.organisation.slug, made.pk)
    status = 422 if form.errors else 200
    listed = scope.organisation.webhooks.all()
    return page(request, scope, "webhooks.html", status=status, form=form, webhooks=listed)


@permitted("webhook.manage")
@never_cache
@require_http_methods(["GET", "POST"])
def webhook(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Show a webhook with its secret and its deliveries; POST saves its settings."""
    found = _find(scope, pk)
    initial = {name: getattr(found, name) for name in ("name", "url", "events", "style")}
    form = WebhookForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            editing.edit(found, **form.cleaned_data)
            messages.success(request, _("Webhook saved."))
            return redirect("webhook", scope.organisation.slug, pk)
    shown = Paginator(found.deliveries.order_by("-created_at", "-pk"), DELIVERIES_PER_PAGE)
    return page(
        request,
        scope,
        "webhook.html",
        status=422 if form.errors else 200,
        form=form,
        webhook=found,
        secret=secret_of(found),
        page=shown.get_page(request.GET.get("page")),
    )


@permitted("webhook.manage")
@require_POST
def test_webhook(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Send a message to try the address, also while the webhook is switched off."""
    editing.send_test(_find(scope, pk))
    messages.success(request, _("Test sent. Load the page again to see the answer."))
    return redirect("webhook", scope.organisation.slug, pk)


@permitted("webhook.manage")
@require_POST
def rotate_webhook(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Give the webhook another secret; the old one ends at once."""
    editing.rotate_secret(_find(scope, pk))
    messages.success(request, _("The webhook has a new secret. Give it to the receiver."))
    return redirect("webhook", scope.organisation.slug, pk)


@permitted("webhook.manage")
@require_POST
def switch_webhook(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Switch the webhook on or off, as `state` says."""
    found = _find(scope, pk)
    state = request.POST.get("state", "")
    if state in ("on", "off"):
        editing.switch(found, on=state == "on")
        answer = _("Webhook switched on.") if state == "on" else _("Webhook switched off.")
        messages.success(request, answer)
    else:
        messages.error(request, _("Choose on or off."))
    return redirect("webhook", scope.organisation.slug, pk)


@permitted("webhook.manage")
@require_POST
def delete_webhook(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Delete the webhook with its deliveries."""
    editing.delete(_find(scope, pk))
    messages.success(request, _("Webhook deleted."))
    return redirect("webhooks", scope.organisation.slug)


@permitted("webhook.manage")
@require_POST
def resend_delivery(request: HttpRequest, scope: Scope, pk: int, delivery_pk: UUID) -> HttpResponse:
    """Send the message of a delivery again."""
    sent = get_object_or_404(_find(scope, pk).deliveries.select_related("webhook"), pk=delivery_pk)
    resend(sent)
    messages.success(request, _("Sent again."))
    return redirect("webhook", scope.organisation.slug, pk)


def _find(scope: Scope, pk: int) -> Webhook:
    return get_object_or_404(scope.organisation.webhooks.select_related("organisation"), pk=pk)
