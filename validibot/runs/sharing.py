"""Links that show one run to people without an account: create, open and revoke.

A link holds a token of 256 random bits; only a keyed digest of it is stored. It shows the result, the
findings and the outputs of its run and nothing else: no file, no name of a person, no other run. It
works as long as its creator is a member of the organisation.
"""

import datetime as dt
import logging

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Membership, User
from validibot.accounts.regions import served_here
from validibot.core.tokens import keyed_digest, new_token
from validibot.runs.models import Run, RunShare

# Links of one run that work at a time.
MAX_SHARES = 20
_PURPOSE = "run-share"

logger = logging.getLogger(__name__)


def share(run: Run, *, user: User, lifetime: dt.timedelta) -> str:
    """Create a link to a run and return its token, which is not known afterwards.

    Raises ValidationError if the run has `MAX_SHARES` links that work.
    """
    now = timezone.now()
    token = new_token()
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        count = working(run.shares.all()).count()
        if count >= MAX_SHARES:
            raise ValidationError(
                _("This run has %(count)s links that work. Revoke one of them first."),
                params={"count": count},
            )
        made = RunShare.objects.create(
            run=run,
            token_digest=keyed_digest(token, purpose=_PURPOSE),
            created_by=user,
            expires_at=now + lifetime,
        )
        audit.record(run.organisation_id, "share.created", f"run {run.pk}")
    logger.info("link %s to run %s was created by user %s", made.pk, run.pk, user.pk)
    return token


def revoke(share: RunShare, *, user: User) -> None:
    """End a link; one that has ended stays as it is."""
    with transaction.atomic():
        lasting = RunShare.objects.filter(pk=share.pk, revoked_at=None)
        if not lasting.update(revoked_at=timezone.now()):
            return
        audit.record(share.run.organisation_id, "share.revoked", f"run {share.run_id}")
    logger.info("link %s to run %s was revoked by user %s", share.pk, share.run_id, user.pk)


def working(shares: "QuerySet[RunShare]") -> "QuerySet[RunShare]":
    """Return those of the links that show their run now."""
    members = Membership.objects.filter(
        organisation=OuterRef("run__organisation"), user=OuterRef("created_by")
    )
    return shares.filter(
        Exists(members) | Q(created_by__is_superuser=True),
        served_here("run__organisation"),
        revoked_at=None,
        expires_at__gt=timezone.now(),
        run__organisation__deletion_requested_at=None,
    )


def open_share(token: str) -> RunShare | None:
    """Return the link with this token and count the visit, or None if it shows nothing."""
    now = timezone.now()
    digest = keyed_digest(token, purpose=_PURPOSE)
    found = working(RunShare.objects.filter(token_digest=digest)).first()
    if found is None:
        return None
    RunShare.objects.filter(pk=found.pk).update(opened=F("opened") + 1, last_opened_at=now)
    logger.info("link %s to run %s was opened", found.pk, found.run_id)
    return found
