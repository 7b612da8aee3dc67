"""Mails of notifications: one at once, or a digest when its time has come.

A task takes its mails by moving `due_at` on, so that no other sends the same; if the mail server
cannot be reached the sweep, or the next pass of the digests, tries again after `RETRY`.
"""

import datetime as dt
import logging

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.tasks import task
from django.utils import timezone

from validibot.accounts.models import User
from validibot.core.mail import RecipientRefused, deliver
from validibot.core.scheduled_work import recorded
from validibot.notifications.mails import digest_of, mail_of
from validibot.notifications.models import Channel, MailRhythm, Notification

RETRY = dt.timedelta(minutes=10)
# A mail, or a notice, that has waited for so long is enqueued again: its task was lost.
LOST = dt.timedelta(seconds=60)
# A mail that cannot be sent for so long is given up; a digest waits for up to a week before.
GIVE_UP, GIVE_UP_DIGEST = dt.timedelta(days=3), dt.timedelta(days=10)
BATCH = 1000
# Notifications that a digest lists; it counts the rest.
MAX_DIGEST = 100

logger = logging.getLogger(__name__)


def unsent_mails() -> "QuerySet[Notification]":
    """Return the mails that have been neither sent nor refused."""
    return Notification.objects.filter(channel=Channel.MAIL, ended_at=None)


def enqueue(mail: Notification) -> None:
    """Enqueue a mail after the commit; if that is impossible the sweep does it."""
    transaction.on_commit(lambda: send_notification.enqueue(mail.pk), robust=True)


def sweep_mails() -> int:
    """Enqueue mails that are overdue, because a task was lost or the mail server was away.

    Those that could not be sent for days are given up.
    """
    now = timezone.now()
    is_at_once = Q(rhythm=MailRhythm.AT_ONCE)
    hopeless = is_at_once & Q(created_at__lt=now - GIVE_UP) | Q(created_at__lt=now - GIVE_UP_DIGEST)
    unsent_mails().filter(hopeless).update(
        ended_at=now, error="The mail could not be sent for days."
    )
    overdue = unsent_mails().filter(is_at_once, due_at__lt=now - LOST)
    # In a long queue the task may wait for its turn: one more in RETRY is enough.
    waits = Q(enqueued_at__gte=now - RETRY)
    lost = list(overdue.exclude(waits).order_by("due_at")[:BATCH])
    for mail in lost:
        enqueue(mail)
    Notification.objects.filter(pk__in=[mail.pk for mail in lost]).update(enqueued_at=now)
    return len(lost)


def purge_notifications(before: dt.datetime) -> int:
    """Delete a batch of notifications from before a moment; return how many."""
    old = Notification.objects.filter(created_at__lt=before).values("pk")[:BATCH]
    return Notification.objects.filter(pk__in=old).delete()[0]


@task
def send_notification(notification_id: int) -> None:
    """Send a mail, unless it was sent, is being sent, or is gone."""
    _send(unsent_mails().filter(pk=notification_id, rhythm=MailRhythm.AT_ONCE))


@task
def send_digest(user_id: int, rhythm: str) -> None:
    """Send a user's digest, unless that was done or is being done."""
    _send(unsent_mails().filter(user_id=user_id, rhythm=rhythm))


@task
def send_digests() -> None:
    """Enqueue the digests that are due; for queues with periodic tasks."""
    recorded("digests", enqueue_digests)


def enqueue_digests() -> dict[str, int]:
    """Enqueue a task for each digest whose time has come; return how many."""
    due = unsent_mails().filter(
        rhythm__in=[MailRhythm.DAILY, MailRhythm.WEEKLY], due_at__lte=timezone.now()
    )
    digests = list(due.order_by().values_list("user_id", "rhythm").distinct()[:BATCH])
    for user_id, rhythm in digests:
        send_digest.enqueue(user_id, rhythm)
    return {"digests": len(digests)}


def _send(mails: "QuerySet[Notification]") -> None:
    """Take those of `mails` that are due, send them as one message, and mark them as sent.

    Only what the message lists is loaded: a day may have many thousand runs.
    """
    now = timezone.now()
    until = now + RETRY
    free = mails.filter(due_at__lte=now + dt.timedelta(seconds=1)).order_by()
    taken = mails.filter(due_at=until)
    with transaction.atomic():
        chosen = free.select_for_update(skip_locked=True).values("pk")
        Notification.objects.filter(pk__in=chosen).update(due_at=until)
        counts = taken.order_by().values_list("result").annotate(number=Count("pk"))
        results = dict(counts)
        rows = taken.select_related("user", "organisation").order_by("created_at", "pk")
        listed = list(rows[:MAX_DIGEST])
    if not listed:
        return
    user: User = listed[0].user
    error = "" if user.is_active else "The account is closed."
    if not error:
        try:
            is_single = listed[0].rhythm == MailRhythm.AT_ONCE
            deliver(mail_of(listed[0]) if is_single else digest_of(listed, results))
        except RecipientRefused as refusal:
            logger.warning("notifications of user %s are not delivered: %s", user.pk, refusal)
            error = str(refusal)[:500]
    taken.update(ended_at=timezone.now(), error=error)
