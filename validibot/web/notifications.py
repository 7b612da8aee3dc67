"""The pages of notifications: the list, the preferences, and the link that ends mails."""

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.signing import BadSignature
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts.models import Organisation, User
from validibot.accounts.regions import served_here
from validibot.accounts.scope import Scope, is_open_to
from validibot.notifications import preferences
from validibot.notifications.models import NotificationPreference
from validibot.notifications.preferences import Unsubscription
from validibot.web.forms import refusals_on
from validibot.web.paging import BoundedPaginator
from validibot.web.parameters import positive_number
from validibot.web.scope import MAX_ORGANISATIONS, member, page
from validibot.workflows.select import visible_workflows

NOTIFICATIONS_PER_PAGE = 50
# Workflows that the form of preferences offers.
MAX_WORKFLOWS = 500


class PreferenceForm(forms.ModelForm[NotificationPreference]):
    """A preference of the signed-in user for a workflow, or for an organisation."""

    workflow = forms.ChoiceField(
        label=gettext_lazy("Workflow"),
        required=False,
        help_text=gettext_lazy(
            "The preference of a workflow comes before that for all workflows. One that exists is replaced."
        ),
    )

    class Meta:
        model = NotificationPreference
        fields = ("workflow", "occasion", "coverage", "in_list", "mail")

    def __init__(self, scope: Scope, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["workflow"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("All workflows")), *_workflows(scope)]


def _workflows(scope: Scope) -> list[tuple[str, str]]:
    """Return slug and name of the workflows that the user may see."""
    named = visible_workflows(scope).values_list("slug", "name")[:MAX_WORKFLOWS]
    return sorted(named, key=lambda each: each[1].lower())


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def notifications(request: HttpRequest) -> HttpResponse:
    """List the notifications of the user, newest first; POST marks one, or all, as read."""
    assert isinstance(request.user, User)
    rows = preferences.listed(request.user)
    if request.method == "POST":
        chosen = request.POST.get("notification", "")
        unread = rows.filter(read_at=None)
        if chosen:
            unread = unread.filter(pk=positive_number(chosen))
        unread.update(read_at=timezone.now())
        number = request.GET.get("page", "")
        answer = redirect("notifications")
        answer["Location"] += f"?{urlencode({'page': number})}" if number.isdecimal() else ""
        return answer
    shown = BoundedPaginator(rows.select_related("organisation"), NOTIFICATIONS_PER_PAGE)
    context = {"page": shown.get_page(request.GET.get("page"))}
    return render(request, "web/notifications.html", context)


@login_required
@require_GET
def open_notification(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark a notification as read and lead to its run."""
    assert isinstance(request.user, User)
    found = get_object_or_404(
        preferences.listed(request.user).select_related("organisation"), pk=pk
    )
    preferences.listed(request.user).filter(pk=pk, read_at=None).update(read_at=timezone.now())
    return redirect(found.path)


@login_required
@require_GET
def notification_settings(request: HttpRequest) -> HttpResponse:
    """List the preferences of the user in all organisations."""
    assert isinstance(request.user, User)
    own = NotificationPreference.objects.filter(user=request.user).select_related("organisation")
    by_organisation: dict[int, list[NotificationPreference]] = {}
    for each in own:
        by_organisation.setdefault(each.organisation_id, []).append(each)
    seen = Organisation.objects.filter(
        is_open_to(request.user), served_here(), deletion_requested_at=None
    )
    listed = [
        (each, by_organisation.get(each.pk, []))
        for each in seen.order_by("name")[:MAX_ORGANISATIONS]
    ]
    return render(request, "web/notification_settings.html", {"organisations": listed})


@member
@require_http_methods(["GET", "POST"])
def notification_preferences(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the preferences of the user in an organisation; POST saves one."""
    own = list(
        NotificationPreference.objects.filter(user=scope.user, organisation=scope.organisation)
    )
    by_workflow = {each.workflow: each for each in own}
    workflow = request.GET.get("workflow", "")
    if request.method == "POST":
        form = PreferenceForm(scope, request.POST)
        if form.is_valid():
            with refusals_on(form):
                preferences.save(scope, **form.cleaned_data)
                messages.success(request, _("Preference saved."))
                return redirect("notification-preferences", scope.organisation.slug)
    else:
        stored = by_workflow.get(workflow) or preferences.default()
        form = PreferenceForm(scope, instance=stored, initial={"workflow": workflow})
    return page(
        request,
        scope,
        "notification_preferences.html",
        status=422 if form.errors else 200,
        form=form,
        preferences=own,
        has_general="" in by_workflow,
    )


@member
@require_POST
def delete_preference(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Remove a preference by its `id`: that of the organisation, or the default, holds again."""
    own = NotificationPreference.objects.filter(user=scope.user, organisation=scope.organisation)
    if preferences.remove(scope, own.filter(pk=positive_number(request.POST.get("id", "")))):
        messages.success(request, _("Preference removed."))
    return redirect("notification-preferences", scope.organisation.slug)


# A mail program posts to the link without any cookie, as RFC 8058 has it: the signature is the proof.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask whether mails of a kind should end; POST ends them."""
    try:
        found = Unsubscription(token)
    except BadSignature:
        raise Http404 from None
    if request.method == "POST":
        found.apply()
    context = {"title": found.title, "is_done": request.method == "POST"}
    return render(request, "web/unsubscribe.html", context)
