"""Pages about the data of an account: sessions, export, and deletion of the account."""

import json
import tempfile
import zipfile
from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts.deletion import AccountIsNeeded, close_account, plan_deletion
from validibot.accounts.export import account_document
from validibot.accounts.models import User
from validibot.runs.deletion import extent_of, request_deletion
from validibot.runs.models import Run

# The newest runs that an export holds: about 20 MB of JSON.
MAX_RUNS = 50_000
ENTRIES_PER_PAGE = 50
_MEMORY = 4 * 1024 * 1024
_RUN_FIELDS = (
    *("id", "organisation__slug", "workflow__slug", "workflow__version", "status"),
    *("created_at", "started_at", "ended_at", "credits"),
    *("submission__filename", "submission__size_bytes", "submission__sha256", "submission__name"),
)


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
def export(request: HttpRequest) -> FileResponse:
    """Answer with a ZIP file: `account.json`, and `runs.jsonl` with a run per line."""
    assert isinstance(request.user, User)
    file = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 - the response closes it
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("account.json", _json(account_document(request.user), indent=2))
        with archive.open("runs.jsonl", "w") as lines:
            runs = Run.objects.filter(user=request.user).order_by("-created_at")
            for row in runs.values(*_RUN_FIELDS)[:MAX_RUNS].iterator(chunk_size=1000):
                lines.write(_json(row).encode() + b"\n")
    file.seek(0)
    name = f"validibot-account-{timezone.now():%Y-%m-%d}.zip"
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/zip")


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


def _json(value: Any, *, indent: int | None = None) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=indent)
