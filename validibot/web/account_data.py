"""Pages about the data of an account: sessions, export, and deletion of the account."""

from allauth.account.decorators import reauthentication_required
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts.deletion import AccountIsNeeded, close_account, plan_deletion
from validibot.accounts.models import User
from validibot.core.downloads import streamed
from validibot.runs.account_archive import MAX_RUNS
from validibot.runs.deletion import extent_of, request_deletion
from validibot.runs.export_files import open_export, request_account_export
from validibot.runs.models import ExportFile

ENTRIES_PER_PAGE = 50


@login_required
@require_POST
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign another browser of the user out."""
    session = get_object_or_404(UserSession, pk=pk, user=request.user)
    end_sessions(request, [session])
    messages.success(request, _("Signed out there."))
    return redirect("usersessions_list")


@login_required
@require_GET
def security_log(request: HttpRequest) -> HttpResponse:
    """List sign-ins and changes of keys, passwords and second factors of the account."""
    assert isinstance(request.user, User)
    entries = Paginator(request.user.security_entries.order_by("-pk"), ENTRIES_PER_PAGE)
    context = {"page": entries.get_page(request.GET.get("page"))}
    return render(request, "web/security_log.html", context)


@login_required
@require_GET
def account_data(request: HttpRequest) -> HttpResponse:
    """Offer export and deletion."""
    return render(request, "web/account_data.html", {"max_runs": MAX_RUNS})


@login_required
@require_GET
@reauthentication_required  # type: ignore[untyped-decorator]
def export(request: HttpRequest) -> HttpResponseBase:
    """Download the archive of the account; while there is none, show the page of its progress."""
    assert isinstance(request.user, User)
    made = request_account_export(request.user)
    if (chunks := open_export(made)) is None:
        return redirect("account-export-progress")
    return streamed(chunks, name=_archive_name(made), size=made.size_bytes)


@login_required
@require_GET
def export_progress(request: HttpRequest) -> HttpResponse:
    """Show whether the archive of the account is being made, is ready or has failed."""
    assert isinstance(request.user, User)
    made = request_account_export(request.user)
    context = {
        "export": made,
        "name": _archive_name(made),
        "file_url": reverse("account-export"),
        "back_url": reverse("account-data"),
    }
    return render(request, "web/export.html", context)


@login_required
@require_http_methods(["GET", "POST"])
@reauthentication_required  # type: ignore[untyped-decorator]
def delete_account(request: HttpRequest) -> HttpResponse:
    """Show what is deleted with the account; a POST with the typed address deletes it."""
    assert isinstance(request.user, User)
    error = ""
    if request.method == "POST":
        if request.POST.get("confirmation", "").strip().lower() != request.user.email:
            error = _("This is not your email address. Type %(email)s to delete the account.") % {
                "email": request.user.email
            }
        else:
            try:
                return _delete(request, request.user)
            except AccountIsNeeded:
                error = _("Meanwhile the account became the last owner. Look at the list again.")
    plan = plan_deletion(request.user)
    context = {
        "plan": plan,
        "deleted": [(each, _present(extent_of(each).lines())) for each in plan.deleted],
        "error": error,
    }
    return render(request, "web/delete_account.html", context, status=422 if error else 200)


def _delete(request: HttpRequest, user: User) -> HttpResponse:
    with transaction.atomic():
        plan = close_account(user)
        for organisation in plan.deleted:
            if organisation.personal_owner_id != user.pk:
                request_deletion(organisation)
        request_deletion(user)
    logout(request)
    messages.success(request, _("Your account is deleted. Its data is removed within minutes."))
    return redirect("account_login")


def _present(lines: list[str]) -> list[str]:
    """Return the lines about something that there is."""
    return [line for line in lines if not line.startswith("0 ")]


def _archive_name(made: ExportFile) -> str:
    return f"validibot-account-{made.requested_at:%Y-%m-%d}.zip"
