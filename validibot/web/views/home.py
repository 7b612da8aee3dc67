"""Where a visit begins."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from validibot.accounts.models import User
from validibot.accounts.scope import organisations_of
from validibot.accounts.workspaces import ensure_personal_workspace


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Lead to a shared organisation of the user, else to the personal workspace."""
    assert isinstance(request.user, User)
    mine = organisations_of(request.user)
    shared = mine.filter(personal_owner=None).order_by("name").first()
    organisation = shared or mine.first() or ensure_personal_workspace(request.user)
    return redirect("workflows", organisation.slug)
