"""The page of an organisation's AI endpoint: its form, the request that tries it, and its removal."""

from typing import ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts.scope import Scope
from validibot.web.forms import refusals_on, refusals_told
from validibot.web.scope import page, permitted
from validibot.web.validators import cost_of_month
from validibot.workflows import ai_endpoints
from validibot.workflows.ai import endpoint_of, own_endpoint, usage_of
from validibot.workflows.ai_endpoints import AiKeyForm
from validibot.workflows.models import OrganisationAiEndpoint

_FIELDS = ("url", "model", "currency", "prompt_price", "answer_price", "monthly_budget")


class OrganisationAiEndpointForm(AiKeyForm, forms.ModelForm[OrganisationAiEndpoint]):
    """An endpoint with its key."""

    field_order = ("url", "model", "key", "forget_key")

    class Meta:
        model = OrganisationAiEndpoint
        fields = _FIELDS
        widgets: ClassVar = {
            "url": forms.URLInput({"placeholder": "https://api.openai.com/v1"}),
            "currency": forms.TextInput({"maxlength": 3, "autocapitalize": "characters"}),
        }

    def __init__(self, *args: object, instance: OrganisationAiEndpoint | None) -> None:
        super().__init__(*args, instance=instance)  # type: ignore[arg-type, misc]
        if not (instance and instance.sealed_key):
            del self.fields["forget_key"]


@permitted("ai.manage")
@never_cache
@require_http_methods(["GET", "POST"])
def ai_endpoint(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the endpoint that reviews ask; POST saves the organisation's own."""
    organisation = scope.organisation
    posted = request.POST if request.method == "POST" else None
    form = OrganisationAiEndpointForm(posted, instance=own_endpoint(organisation))
    if request.method == "POST" and form.is_valid():
        fields = {name: form.cleaned_data[name] for name in _FIELDS}
        forget_key = form.cleaned_data.get("forget_key", False)
        with refusals_on(form):
            ai_endpoints.save_endpoint(
                organisation, fields, key=form.cleaned_data["key"], forget_key=forget_key
            )
            messages.success(request, _("AI endpoint saved. Try it before a run needs it."))
            return redirect("ai-endpoint", organisation.slug)
    own, used = own_endpoint(organisation), endpoint_of(organisation)
    usage = usage_of(organisation, own=own is not None)
    return page(
        request,
        scope,
        "ai_endpoint.html",
        status=422 if form.errors else 200,
        form=form,
        own=own,
        used=used,
        tokens=f"{usage.tokens:,}",
        cost=cost_of_month(used, usage)
        if used and (used.prompt_price or used.answer_price)
        else "",
    )


@permitted("ai.manage")
@require_POST
def try_ai_endpoint(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Send one small request to the own endpoint, and tell what it answered."""
    with refusals_told(request):
        answer = ai_endpoints.try_endpoint(scope.organisation)
        told = _(
            "It works: the model %(model)s at %(host)s answered as asked, with %(tokens)s tokens."
        )
        tokens = answer.prompt_tokens + answer.answer_tokens
        shown = {"model": answer.model, "host": answer.endpoint, "tokens": f"{tokens:,}"}
        messages.success(request, told % shown)
    return redirect("ai-endpoint", scope.organisation.slug)


@permitted("ai.manage")
@require_POST
def remove_ai_endpoint(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Delete the own endpoint with its key."""
    ai_endpoints.remove_endpoint(scope.organisation)
    messages.success(request, _("AI endpoint removed with its key."))
    return redirect("ai-endpoint", scope.organisation.slug)
