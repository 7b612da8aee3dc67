"""The page of support: a question to the operators, also from people without an account."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods

from validibot.accounts.models import User
from validibot.accounts.scope import NotAMember, scope_of
from validibot.core.throttle import client_address
from validibot.runs.access import visible_runs
from validibot.runs.models import Run
from validibot.support import requests as service
from validibot.support.models import SupportRequest
from validibot.web.forms import NameField, refusals_on

MAX_MESSAGE = 5000


class SupportForm(forms.Form):
    """A question; people who are not signed in give an address for the answer."""

    email = forms.EmailField(
        label=gettext_lazy("Email"),
        max_length=254,
        help_text=gettext_lazy("The answer goes to it."),
        widget=forms.EmailInput({"autocomplete": "email"}),
    )
    subject = NameField(label=gettext_lazy("Subject"))
    message = forms.CharField(
        label=gettext_lazy("Message"), max_length=MAX_MESSAGE, widget=forms.Textarea({"rows": 8})
    )

    def __init__(self, user: User | None, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        if user:
            del self.fields["email"]


@require_http_methods(["GET", "POST"])
def support(request: HttpRequest) -> HttpResponse:
    """Show the form; POST stores a question. `?org=…&run=…` attaches a run that the user may see."""
    user = request.user if isinstance(request.user, User) else None
    run = _run(user, request.GET.get("org", ""), request.GET.get("run", ""))
    form = SupportForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_on(form):
            asked = SupportRequest(user=user, **form.cleaned_data)
            if user:
                asked.email = user.email
            if run:
                asked.run, asked.organisation = run.pk, run.organisation.slug
            service.ask(asked, address=client_address(request))
            messages.success(request, _("Your question was sent. The answer comes by mail."))
            return redirect("run", run.organisation.slug, run.pk) if run else redirect("support")
    context = {"form": form, "run": run}
    return render(request, "web/support.html", context, status=422 if form.errors else 200)


def _run(user: User | None, organisation: str, text: str) -> Run | None:
    """Return the run of an address, None if there is none or the user may not see it."""
    if user is None or "\0" in organisation:
        return None
    try:
        runs = visible_runs(scope_of(user, organisation))
        return runs.select_related("organisation", "submission").filter(pk=UUID(text)).first()
    except (NotAMember, ValueError):
        return None
