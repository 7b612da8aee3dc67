"""From the end of a run to notifications: who is told, and how.

`note` writes a row in the transaction that ends the run. A task makes notifications of it, one for
each user and channel, and deletes the row in the same transaction. A row whose task was lost is found
by the sweep.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from validibot.accounts.models import Membership, Organisation, User
from validibot.accounts.profile import zone_of
from validibot.accounts.scope import Scope, scope_without_membership
from validibot.notifications.models import (
    FAILURES,
    Channel,
    Coverage,
    MailRhythm,
    Notification,
    NotificationPreference,
    Occasion,
    ResultChange,
    RunNotice,
)
from validibot.notifications.preferences import default, preferences_for
from validibot.notifications.sending import LOST, enqueue, unsent_mails

# When digests are due, in the time zone of their user; weekly ones on Mondays.
DIGEST_HOUR = 8
# Nothing is written unless somebody in the organisation has a preference, or may be told by default.
_NOTE = """
INSERT INTO notifications_runnotice (run, created_at)
SELECT %s, %s WHERE %s OR EXISTS (
    SELECT 1 FROM notifications_notificationpreference WHERE organisation_id = %s)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """The facts of a run that has ended, as notifications show them.

    `user_id` is who started it, and `by_person` whether that was no program. `previous` returns the
    result of the run before of the same workflow, "" if there is none; given a user's id, of the run
    before that this user started.
    """

    run_id: UUID
    organisation: Organisation
    workflow: str
    title: str
    result: str
    finding: str
    user_id: int | None
    by_person: bool
    previous: Callable[[int | None], str]

    @property
    def is_failure(self) -> bool:
        return self.result in FAILURES

    def change(self, user_id: int | None) -> ResultChange:
        """Return how the result differs from that of the run before."""
        before = self.previous(user_id)
        if self.is_failure and before == "PASS":
            return ResultChange.BROKEN
        return (
            ResultChange.FIXED if not self.is_failure and before in FAILURES else ResultChange.NONE
        )


def note(run_id: UUID, organisation_id: int, *, certain: bool) -> bool:
    """Write that people may have to be notified of a run's end; return whether anybody may.

    `certain`: somebody is told without a preference. Call it in the transaction that ends the run.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, [run_id, timezone.now(), certain, organisation_id])
        return bool(cursor.rowcount)


@transaction.atomic
def notify(ended: EndedRun) -> None:
    """Write the notifications of a run that was noted, once, and enqueue the mails among them."""
    noted = RunNotice.objects.select_for_update(skip_locked=True).filter(run=ended.run_id)
    if not noted:
        return
    rows = [row for chosen in _recipients(ended) for row in _rows(ended, *chosen)]
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    noted.delete()
    for row in unsent_mails().filter(run=ended.run_id, rhythm=MailRhythm.AT_ONCE):
        enqueue(row)


def lost_notices(now: dt.datetime, *, limit: int) -> list[UUID]:
    """Return the ids of runs whose notifications should have been written by now."""
    lost = RunNotice.objects.filter(created_at__lt=now - LOST).order_by("created_at")
    return list(lost.values_list("pk", flat=True)[:limit])


def forget(run_id: UUID) -> None:
    """Drop the notice of a run that has been deleted meanwhile."""
    RunNotice.objects.filter(run=run_id).delete()


def _recipients(ended: EndedRun) -> list[tuple[User, NotificationPreference]]:
    """Return the users to notify, each with the preference that asks for it."""
    chosen = preferences_for(ended.organisation.pk, ended.workflow)
    users = {each: row.user for each, row in chosen.items()}
    if ended.by_person and ended.user_id and ended.user_id not in chosen:
        launcher = User.objects.filter(pk=ended.user_id, is_active=True).first()
        if launcher:
            users[launcher.pk], chosen[launcher.pk] = launcher, default()
    wanted = {pk: row for pk, row in chosen.items() if _wants(ended, row, pk)}
    members = Membership.objects.filter(organisation=ended.organisation, user__in=wanted)
    roles = dict(members.values_list("user_id", "role"))
    return [
        (users[pk], row)
        for pk, row in wanted.items()
        if users[pk].service_of_id is None and _may_see(ended, users[pk], roles.get(pk, ""))
    ]


def _wants(ended: EndedRun, preference: NotificationPreference, user_id: int) -> bool:
    is_own = ended.user_id == user_id
    if preference.coverage == Coverage.OWN and not is_own:
        return False
    match preference.occasion:
        case Occasion.ALWAYS:
            return True
        case Occasion.FAILURES:
            return ended.is_failure
        case Occasion.ON_CHANGE:
            return bool(_change(ended, preference, user_id))
        case _:
            return False


def _change(ended: EndedRun, preference: NotificationPreference, user_id: int) -> ResultChange:
    """Return the change among the runs that the preference covers."""
    return ended.change(user_id if preference.coverage == Coverage.OWN else None)


def _may_see(ended: EndedRun, user: User, role: str) -> bool:
    scope = (
        Scope.of_member(user, ended.organisation, role)
        if role
        else scope_without_membership(user, ended.organisation)
    )
    return scope is not None and scope.can_see_run(user_id=ended.user_id, workflow=ended.workflow)


def _rows(ended: EndedRun, user: User, preference: NotificationPreference) -> list[Notification]:
    """Return the unsaved notifications of a user, one for each channel."""
    now = timezone.now()
    shared = {
        "user": user,
        "organisation": ended.organisation,
        "run": ended.run_id,
        "workflow": ended.workflow,
        "title": ended.title[:500],
        "result": ended.result,
        "change": _change(ended, preference, user.pk),
        "finding": ended.finding[:500],
        "preference": preference.workflow,
        "created_at": now,
    }
    rows = [Notification(channel=Channel.LIST, **shared)] if preference.in_list else []
    if preference.mail != MailRhythm.NONE:
        due = due_time(preference.mail, user, now)
        rows.append(
            Notification(channel=Channel.MAIL, rhythm=preference.mail, due_at=due, **shared)
        )
    return rows


def due_time(rhythm: str, user: User, now: dt.datetime) -> dt.datetime:
    """Return when a mail is sent: now, or at the next time of a digest where the user is."""
    if rhythm == MailRhythm.AT_ONCE:
        return now
    local = now.astimezone(zone_of(user.time_zone) or timezone.get_default_timezone())
    due = local.replace(hour=DIGEST_HOUR, minute=0, second=0, microsecond=0)
    while due <= local or (rhythm == MailRhythm.WEEKLY and due.weekday() != 0):
        due += dt.timedelta(days=1)
    return due
