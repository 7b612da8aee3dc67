"""The page of an organisation's audit log, with filters and export."""

import datetime as dt
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from validibot.accounts import audit
from validibot.accounts.models import AuditEntry
from validibot.accounts.scope import Scope
from validibot.core.downloads import streamed
from validibot.web.scope import page, permitted

ENTRIES_PER_PAGE = 50
KINDS = {
    "": gettext_lazy("All changes"),
    "member": gettext_lazy("Members"),
    "invitation": gettext_lazy("Invitations"),
    "guest": gettext_lazy("Guests"),
    "key": gettext_lazy("Service keys"),
    "webhook": gettext_lazy("Webhooks"),
    "project": gettext_lazy("Projects"),
    "workflow": gettext_lazy("Workflows"),
    "validator": gettext_lazy("Validators"),
    "ai_endpoint": gettext_lazy("AI endpoint"),
    "credits": gettext_lazy("Credits"),
    "schedule": gettext_lazy("Schedules"),
    "sample": gettext_lazy("Samples"),
    "launch_link": gettext_lazy("Launch links"),
    "share": gettext_lazy("Shared runs"),
    "organisation": gettext_lazy("Settings"),
}


class AuditFilterForm(forms.Form):
    """Filters of the audit log."""

    actor = forms.CharField(label=gettext_lazy("Person"), required=False, max_length=254)
    action = forms.ChoiceField(
        label=gettext_lazy("Change of"), choices=list(KINDS.items()), required=False
    )
    after = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput({"type": "date"})
    )
    before = forms.DateField(
        label=gettext_lazy("Before"), required=False, widget=forms.DateInput({"type": "date"})
    )


@permitted("audit.view")
@require_GET
def audit_log(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the entries that the filters select, newest first."""
    form = AuditFilterForm(request.GET)
    entries = _filtered(scope, form)
    parameters = request.GET.copy()
    parameters.pop("page", None)
    return page(
        request,
        scope,
        "audit_log.html",
        form=form,
        page=Paginator(entries, ENTRIES_PER_PAGE).get_page(request.GET.get("page")),
        query=parameters.urlencode(),
    )


@permitted("audit.view")
@require_GET
def audit_export(request: HttpRequest, scope: Scope) -> StreamingHttpResponse:
    """Download the entries that the filters select; `kind` is csv or jsonl."""
    kind = request.GET.get("kind") or "csv"
    if kind not in audit.FORMATS:
        raise Http404
    entries = _filtered(scope, AuditFilterForm(request.GET))
    return streamed(audit.FORMATS[kind](entries), name=f"audit.{kind}")


def _filtered(scope: Scope, form: AuditFilterForm) -> QuerySet[AuditEntry]:
    """Return the entries that the form selects; a field with an error selects nothing."""
    is_valid = form.is_valid()
    chosen: dict[str, Any] = {name: value for name, value in form.cleaned_data.items() if value}
    for name in ("after", "before"):
        if name in chosen:
            chosen[name] = timezone.make_aware(dt.datetime.combine(chosen[name], dt.time()))
    entries = audit.filter_entries(scope.organisation, **chosen)
    return entries if is_valid else entries.none()
