"""The organisation that a page is about; a stranger finds no page there."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from validibot.accounts.models import User
from validibot.accounts.scope import NotAMember, Scope, organisations_of, scope_of

type View[**P, R] = Callable[Concatenate[HttpRequest, Scope, P], R]


def member[**P](view: View[P, HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Give the view the scope of its `org`; sign in first, 404 for who is no member."""

    @login_required
    @wraps(view)
    def wrapped(
        request: HttpRequest, org: str, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        return view(request, scope_of_page(request.user, org), *args, **kwargs)

    return wrapped


def scope_of_page(user: Any, org: str) -> Scope:
    """Return the scope of `user` in the organisation `org`. Raises Http404."""
    if not isinstance(user, User):
        raise Http404
    try:
        return scope_of(user, org)
    except NotAMember as error:
        raise Http404 from error


def page(
    request: HttpRequest, scope: Scope, template: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    """Render a page of an organisation with what its frame needs."""
    frame = {
        "organisation": scope.organisation,
        "organisations": organisations_of(scope.user).order_by("name"),
    }
    return render(request, f"web/{template}", frame | context, status=status)
