"""Support requests: store one, mail it to the support address of the site, purge old ones."""

import datetime as dt

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils.translation import gettext as _

from validibot.core.mail import send_later
from validibot.core.models import SiteSettings
from validibot.core.throttle import FailureLimit
from validibot.support.models import SupportRequest

BATCH = 1000
_OF_VISITORS = FailureLimit("support-of-address", count=5, seconds=3600)
_OF_USERS = FailureLimit("support-of-user", count=20, seconds=3600)


@transaction.atomic
def ask(asked: SupportRequest, *, address: str) -> None:
    """Store a request and enqueue its mail. `address` is the client's IP address.

    Raises ValidationError after too many requests of one user, or of one address without an account.
    """
    limit, key = (_OF_USERS, str(asked.user_id)) if asked.user_id else (_OF_VISITORS, address)
    if seconds := limit.exceeded_after(key):
        told = _(
            "You have sent %(count)d requests in the last hour. Try again in %(minutes)d minutes."
        )
        raise ValidationError(told % {"count": limit.count, "minutes": seconds // 60 + 1})
    asked.save()
    if recipient := SiteSettings.load().support_email:
        send_later(_mail(asked, recipient))


def purge_requests(before: dt.datetime) -> int:
    """Delete a batch of requests from before a moment; return how many."""
    old = SupportRequest.objects.filter(created_at__lt=before).values("pk")[:BATCH]
    return SupportRequest.objects.filter(pk__in=old).delete()[0]


def _mail(asked: SupportRequest, recipient: str) -> EmailMessage:
    """Return the mail to the operators; an answer to it goes to the person who asked."""
    lines = [f"From: {asked.email}{'' if asked.user_id else ' (not signed in)'}"]
    lines += [f"Run: {asked.run_url}"] if asked.run else []
    return EmailMessage(
        subject=" ".join(f"Support: {asked.subject}".split()),
        body="\n".join([*lines, "", asked.message]),
        to=[recipient],
        reply_to=[asked.email],
    )
