"""A user's API keys: make one (shown once), see them, revoke one."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts import api_keys as keys
from validibot.accounts.models import User


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def api_keys(request: HttpRequest) -> HttpResponse:
    """List the keys; POST makes one and shows its text in this answer only."""
    assert isinstance(request.user, User)
    text = ""
    if request.method == "POST":
        name = request.POST.get("name", "").replace("\x00", "").strip()[:100] or "Unnamed"
        _, text = keys.issue(request.user, name)
    context = {"keys": request.user.api_keys.all(), "text": text, "site_url": settings.SITE_URL}
    return render(request, "web/api_keys.html", context)


@login_required
@require_POST
def revoke_api_key(request: HttpRequest, pk: int) -> HttpResponse:
    """End a key."""
    assert isinstance(request.user, User)
    if keys.revoke(request.user, pk):
        messages.success(request, "The key no longer opens anything.")
    return redirect("api-keys")
