"""The organisation that a page belongs to, and the navigation of every page.

A page of an organisation is found by its members only. The navigation shows the organisation of the
page; account and error pages belong to none and show the one that was visited last.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse

from validibot.accounts.models import Membership, Organisation, User
from validibot.accounts.regions import OrganisationElsewhere, check_served, served_here
from validibot.accounts.scope import PERMISSIONS, NotAMember, Scope, is_open_to, scope_of
from validibot.accounts.sign_up import is_open
from validibot.core.models import SiteSettings
from validibot.notifications.models import Channel, Notification

type View[**P, R] = Callable[Concatenate[HttpRequest, Scope, P], R]

# Entries of the organisation switcher.
MAX_ORGANISATIONS = 50
# Notifications that the bell counts.
MAX_UNREAD = 99
_LAST_VISITED = "organisation"


def member[**P](view: View[P, HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Give the view the scope of its `org`: sign-in first, 404 for everybody but members."""

    @login_required
    @wraps(view)
    def wrapped(
        request: HttpRequest, org: str, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        try:
            scope = scope_of_page(request.user, org)
        except OrganisationElsewhere as error:
            return _elsewhere(request, error)
        return view(request, scope, *args, **kwargs)

    return wrapped


def _elsewhere(request: HttpRequest, error: OrganisationElsewhere) -> HttpResponseBase:
    """Lead a member of an organisation to the site of its region, or say which region that is."""
    if error.site and request.method in ("GET", "HEAD"):
        return HttpResponseRedirect(error.site + request.get_full_path())
    context = {"status": 421, "detail": str(error), "navigation": None}
    return render(request, "web/error.html", context, status=421)


def permitted(permission: str) -> Callable[[View[..., HttpResponseBase]], Callable[..., Any]]:
    """Make a decorator like `member` for views that need `permission`; others get 403."""

    def decorate(view: View[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @member
        @wraps(view)
        def wrapped(
            request: HttpRequest, scope: Scope, *args: Any, **kwargs: Any
        ) -> HttpResponseBase:
            require(scope, permission)
            return view(request, scope, *args, **kwargs)

        return wrapped

    return decorate


def require(scope: Scope, permission: str) -> None:
    """Raise PermissionDenied, with the reason, unless the scope has `permission`."""
    if not scope.can(permission):
        raise PermissionDenied(scope.refusal(permission))


def scope_of_page(user: Any, org: str) -> Scope:
    """Return the scope of `user` in the organisation `org`.

    Raises Http404, and OrganisationElsewhere to its members.
    """
    if not isinstance(user, User):
        raise Http404
    try:
        scope = scope_of(user, org)
    except NotAMember as error:
        raise Http404 from error
    check_served(scope.organisation)
    return scope


def page(
    request: HttpRequest, scope: Scope, template: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    """Render a page of an organisation and remember the organisation for other pages."""
    slug = scope.organisation.slug
    if request.session.get(_LAST_VISITED) != slug:
        request.session[_LAST_VISITED] = slug
    context |= {"organisation": scope.organisation, "scope": scope}
    return render(request, f"web/{template}", context, status=status)


@dataclass(frozen=True, slots=True)
class SwitcherEntry:
    """An organisation in the switcher: the page that is open now, there."""

    name: str
    url: str
    is_current: bool


class Navigation:
    """Content of every page; read from the database when a template asks."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def organisations(self) -> list[Organisation]:
        """The organisations of the user, also for a superuser: who may see all has not all listed."""
        user = getattr(self._request, "user", None)
        if not isinstance(user, User) or not user.is_authenticated:
            return []
        own = Organisation.objects.filter(
            is_open_to(user), served_here(), deletion_requested_at=None
        )
        members = Membership.objects.filter(organisation=OuterRef("pk"), user=user)
        role = Subquery(members.values("role")[:1])
        return list(own.annotate(user_role=role).order_by("name")[:MAX_ORGANISATIONS])

    @property
    def permissions(self) -> frozenset[str]:
        """The user's permissions in the organisation that was visited last; none of a guest's."""
        return PERMISSIONS.get(getattr(self.current, "user_role", ""), frozenset())

    @cached_property
    def switcher(self) -> list[SwitcherEntry]:
        """The entries of the organisation switcher."""
        match = self._request.resolver_match
        shown = match.kwargs.get("org") if match else None
        current = shown or (self.current.slug if self.current else "")
        return [
            SwitcherEntry(each.name, self._same_page(shown, each.slug), each.slug == current)
            for each in self.organisations
        ]

    def _same_page(self, shown: str | None, slug: str) -> str:
        """Return the address of the open page in another organisation.

        A page about something that only one organisation has leads to the list that it is in.
        """
        home = reverse("workflows", args=[slug])
        start, target = f"/app/orgs/{shown}/", f"/app/orgs/{slug}/"
        rest = self._request.path.removeprefix(start).rstrip("/").split("/")
        while shown and rest and rest != [""]:
            path = f"{target}{'/'.join(rest)}/"
            with suppress(Resolver404):
                if set(resolve(path).kwargs) == {"org"}:
                    return path
            rest.pop()
        return home

    @cached_property
    def banner(self) -> str:
        """The banner of the site; none while the database does not answer."""
        try:
            return SiteSettings.load().banner
        except (DatabaseError, InterfaceError):
            return ""

    @cached_property
    def unread(self) -> int:
        """The number of unread notifications of the user, at most `MAX_UNREAD` and one."""
        user = getattr(self._request, "user", None)
        if not isinstance(user, User) or not user.is_authenticated:
            return 0
        rows = Notification.objects.filter(user=user, channel=Channel.LIST, read_at=None)
        return rows.order_by()[: MAX_UNREAD + 1].count()

    @property
    def unread_text(self) -> str:
        return f"{MAX_UNREAD}+" if self.unread > MAX_UNREAD else str(self.unread)

    @property
    def has_providers(self) -> bool:
        """Whether other providers can be linked to an account."""
        return bool(settings.SOCIALACCOUNT_PROVIDERS)

    @cached_property
    def can_sign_up(self) -> bool:
        """Whether this browser may make an account."""
        return is_open(self._request)

    @cached_property
    def current(self) -> Organisation | None:
        """The organisation that was visited last, else the first one."""
        slug = self._request.session.get(_LAST_VISITED) if self.organisations else None
        visited = (each for each in self.organisations if each.slug == slug)
        return next(visited, None) or next(iter(self.organisations), None)


def navigation(request: HttpRequest) -> dict[str, Navigation]:
    """Context processor: `navigation` for every template."""
    return {"navigation": Navigation(request)}
