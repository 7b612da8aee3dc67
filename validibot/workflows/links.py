"""Launch links of a workflow: create, find, count and revoke.

A link holds a token of 256 random bits. Its public page shows the name, the description and the inputs
of the workflow, and the results of the runs that were started with the link; nothing else of the
organisation.
"""

import datetime as dt
import secrets
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from validibot.accounts.models import User
from validibot.workflows.models import LaunchLink, Workflow

MAX_LINKS = 50
MAX_LAUNCHES = 10_000


def create(
    workflow: Workflow, *, user: User, name: str, lifetime: dt.timedelta, max_launches: int
) -> tuple[LaunchLink, str]:
    """Create a link; return it with its token, which is not kept. Raises ValidationError."""
    links = LaunchLink.objects.filter(organisation=workflow.organisation, workflow=workflow.slug)
    if links.filter(revoked_at=None, expires_at__gt=timezone.now()).count() >= MAX_LINKS:
        message = _("A workflow has at most %(count)d open links. Revoke one first.")
        raise ValidationError(message % {"count": MAX_LINKS})
    token = secrets.token_urlsafe(32)
    link = LaunchLink.objects.create(
        organisation=workflow.organisation,
        workflow=workflow.slug,
        name=name,
        digest=_digest(token),
        created_by=user,
        expires_at=timezone.now() + lifetime,
        max_launches=max_launches,
    )
    return link, token


def find(token: str) -> LaunchLink | None:
    """Return the link of a token, open or not."""
    found = LaunchLink.objects.select_related("organisation").filter(digest=_digest(token))
    return found.first()


def take(link: LaunchLink) -> bool:
    """Count a launch, unless the link is not open any more; return whether it was counted."""
    is_open = LaunchLink.objects.filter(
        pk=link.pk, revoked_at=None, expires_at__gt=timezone.now(), launches__lt=F("max_launches")
    )
    return bool(is_open.update(launches=F("launches") + 1))


def give_back(link: LaunchLink) -> None:
    """Undo `take` for a launch that started no run."""
    LaunchLink.objects.filter(pk=link.pk, launches__gt=0).update(launches=F("launches") - 1)


def revoke(link: LaunchLink) -> None:
    """End a link at once, also the pages of its results."""
    LaunchLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=timezone.now())


def sign_run(link: LaunchLink, run_id: UUID) -> str:
    """Return a run's id for the address of its result; it works with this link only."""
    return _signer(link).sign(str(run_id))


def signed_run(link: LaunchLink, text: str) -> UUID | None:
    """Return the id that `sign_run` has signed for this link, or None."""
    try:
        return UUID(_signer(link).unsign(text))
    except (BadSignature, ValueError):
        return None


def _signer(link: LaunchLink) -> Signer:
    return Signer(sep="~", salt=f"validibot.workflows.links.{link.pk}")


def _digest(token: str) -> str:
    return salted_hmac("validibot.workflows.links", token, algorithm="sha256").hexdigest()
