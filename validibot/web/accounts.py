"""The pages of a user's account: the start page and API keys."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts import api_keys as keys
from validibot.accounts.models import User
from validibot.accounts.scope import organisations_of
from validibot.accounts.workspaces import ensure_personal_workspace


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Redirect to a shared organisation of the user, else to the personal workspace."""
    assert isinstance(request.user, User)
    mine = organisations_of(request.user)
    shared = mine.filter(personal_owner=None).order_by("name").first()
    organisation = shared or mine.first() or ensure_personal_workspace(request.user)
    return redirect("workflows", organisation.slug)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def api_keys(request: HttpRequest) -> HttpResponse:
    """List the API keys; POST creates one and shows its text in this answer only."""
    assert isinstance(request.user, User)
    text = ""
    if request.method == "POST":
        name = request.POST.get("name", "").replace("\x00", "").strip()[:100] or "Unnamed"
        _, text = keys.issue(request.user, name)
    commands = f"export VALIDIBOT_API_URL={settings.SITE_URL}\nvalidibot login --token {text}"
    context = {"keys": request.user.api_keys.all(), "text": text, "commands": commands}
    return render(request, "web/api_keys.html", context)


@login_required
@require_POST
def revoke_api_key(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke an API key."""
    assert isinstance(request.user, User)
    if keys.revoke(request.user, pk):
        messages.success(request, "API key revoked.")
    return redirect("api-keys")
