"""Launch links of a workflow: create, find, count and revoke.

A link holds a token of 256 random bits. Its public page shows the name, the description and the inputs
of the workflow, and the results of the runs that were started with the link; nothing else of the
organisation.
"""

import datetime as dt
import logging
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import User
from validibot.accounts.regions import served_here
from validibot.core.tokens import keyed_digest, new_token
from validibot.workflows.models import LaunchLink, Workflow

# Open links of one workflow at a time.
MAX_LINKS = 50
# Runs that one link may start.
MAX_LAUNCHES = 10_000
_PURPOSE = "launch-link"

logger = logging.getLogger(__name__)


def links_of(workflow: Workflow) -> "QuerySet[LaunchLink]":
    """Return all links of a workflow, newest first."""
    return LaunchLink.objects.filter(organisation=workflow.organisation, workflow=workflow.slug)


def create(
    workflow: Workflow, *, user: User, name: str, lifetime: dt.timedelta, max_launches: int
) -> tuple[LaunchLink, str]:
    """Create a link; return it with its token, which is not kept. Raises ValidationError."""
    now = timezone.now()
    token = new_token()
    with transaction.atomic():
        Workflow.locked(workflow.pk)
        is_open = {"revoked_at": None, "expires_at__gt": now, "launches__lt": F("max_launches")}
        if links_of(workflow).filter(**is_open).count() >= MAX_LINKS:
            message = _("A workflow has at most %(count)d open links. Revoke one first.")
            raise ValidationError(message % {"count": MAX_LINKS})
        link = LaunchLink.objects.create(
            organisation=workflow.organisation,
            workflow=workflow.slug,
            name=name,
            token_digest=keyed_digest(token, purpose=_PURPOSE),
            created_by=user,
            expires_at=now + lifetime,
            max_launches=max_launches,
        )
        audit.record(workflow.organisation, "launch_link.created", f"{name} of {workflow.slug}")
    logger.info("launch link %s of workflow %s was created by user %s", link.pk, workflow, user.pk)
    return link, token


def find(token: str) -> LaunchLink | None:
    """Return the link of a token, open or not; None also if its organisation is being deleted."""
    found = LaunchLink.objects.filter(
        served_here("organisation"),
        token_digest=keyed_digest(token, purpose=_PURPOSE),
        organisation__deletion_requested_at=None,
    )
    return found.select_related("organisation").first()


def take(link: LaunchLink) -> bool:
    """Count a launch, unless the link is not open any more; return whether it was counted."""
    is_open = LaunchLink.objects.filter(
        pk=link.pk, revoked_at=None, expires_at__gt=timezone.now(), launches__lt=F("max_launches")
    )
    return bool(is_open.update(launches=F("launches") + 1))


def revoke(link: LaunchLink, *, user: User) -> None:
    """End a link at once, also the pages of its results."""
    with transaction.atomic():
        working = LaunchLink.objects.filter(pk=link.pk, revoked_at=None)
        if not working.update(revoked_at=timezone.now()):
            return
        target = f"{link.name} of {link.workflow}"
        audit.record(link.organisation_id, "launch_link.revoked", target)
    logger.info("launch link %s was revoked by user %s", link.pk, user.pk)


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
