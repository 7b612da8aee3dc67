"""Rules of sign-up: the site setting `sign_up`, invitations, and the waitlist.

The page of an invitation, to an organisation or from the waitlist, calls `remember_invitation`, after it
has verified the link. From then on this browser may sign up with the invited address, and only with it: one link makes one account. The
address is verified by a mail of its own, because the link may have been forwarded.
"""

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from validibot.accounts import waitlist
from validibot.accounts.models import Invitation
from validibot.core.models import SignUp, SiteSettings

_INVITED = "invited_email"
_PATH = "invitation_path"


def remember_invitation(request: HttpRequest, email: str, *, path: str) -> None:
    """Let this browser sign up with `email`, for which a valid invitation was shown.

    `path` is the page to go on with once the address is verified; "" for the first page.
    """
    request.session[_INVITED] = email.lower()
    request.session[_PATH] = path


def invitation_path(request: HttpRequest, email: str) -> str:
    """Return the page of the invitation that this browser opened for `email`, or ""."""
    return str(request.session.get(_PATH, "")) if email == invited_email(request) else ""


def invited_email(request: HttpRequest) -> str:
    """Return the address that this browser was invited with, "" if it was not, or is no longer."""
    email = str(request.session.get(_INVITED, ""))
    is_invited = email and (_opened(email).exists() or waitlist.is_invited(email))
    return email if is_invited else ""


def _opened(email: str) -> "QuerySet[Invitation]":
    return Invitation.objects.filter(
        email=email, accepted_at=None, revoked_at=None, expires_at__gt=timezone.now()
    )


def is_open(request: HttpRequest) -> bool:
    """Return whether this browser may sign up, with some address."""
    match SiteSettings.load().sign_up:
        case SignUp.OPEN:
            return True
        case SignUp.INVITATION:
            return bool(invited_email(request))
        case _:
            return False


def is_open_for(request: HttpRequest, email: str) -> bool:
    """Return whether this browser may sign up with `email`."""
    if SiteSettings.load().sign_up == SignUp.INVITATION:
        return bool(email) and email.lower() == invited_email(request)
    return is_open(request)
