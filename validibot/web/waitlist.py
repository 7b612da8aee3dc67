"""The pages of the waitlist: join, confirm or leave, and follow an invitation to the sign-up."""

from django import forms
from django.contrib import messages
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from validibot.accounts import waitlist as service
from validibot.accounts.sign_up import remember_invitation
from validibot.core.throttle import client_address
from validibot.web.forms import refusals_on


class WaitlistForm(forms.Form):
    """The address of somebody who wants an account."""

    email = forms.EmailField(
        label=gettext_lazy("Email"),
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "email"}),
    )


@require_http_methods(["GET", "POST"])
def waitlist(request: HttpRequest) -> HttpResponse:
    """Take an address; where sign-up is open, lead there."""
    if not service.is_offered():
        return redirect("account_signup")
    form = WaitlistForm(request.POST if request.method == "POST" else None)
    is_done = False
    if request.method == "POST" and form.is_valid():
        with refusals_on(form) as refusals:
            service.join(form.cleaned_data["email"], address=client_address(request))
        is_done = not refusals.refused
    context = {"form": form, "is_done": is_done}
    return render(request, "web/waitlist.html", context, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "POST"])
def confirm_waitlist(request: HttpRequest, token: str) -> HttpResponse:
    """Ask whether to confirm the address of a link or to remove it; POST does one of them."""
    try:
        entry = service.find(token)
    except BadSignature:
        return render(request, "web/waitlist_closed.html", status=404)
    state = ""
    if request.method == "POST":
        state = "removed" if request.POST.get("action") == "leave" else "confirmed"
        (service.leave if state == "removed" else service.confirm)(entry)
    context = {"email": entry.email, "state": state}
    return render(request, "web/waitlist_entry.html", context)


@never_cache
@require_GET
def join_from_waitlist(request: HttpRequest, token: str) -> HttpResponse:
    """Let the browser sign up with the invited address."""
    try:
        email = service.invited_email(token)
    except BadSignature:
        return render(request, "web/waitlist_closed.html", status=404)
    if request.user.is_authenticated:
        return redirect("home")
    remember_invitation(request, email, path="")
    messages.info(request, _("Sign up as %(email)s.") % {"email": email})
    return redirect("account_signup")
