"""Preferences of notifications: which one holds for a run, and how they are changed and switched off.

The preference for a workflow comes before that for its organisation. Without either, `DEFAULT` holds
for people who started the run themselves, on a page or by a schedule: programs look for themselves.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, dumps, loads
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from validibot.accounts.models import Organisation, User
from validibot.accounts.scope import Scope
from validibot.notifications.models import (
    FAILURES,
    Channel,
    Coverage,
    MailRhythm,
    Notification,
    NotificationPreference,
    Occasion,
    ResultChange,
)

# Of one user in one organisation.
MAX_PREFERENCES = 200
_SALT = "validibot.notifications.unsubscribe"


def default() -> NotificationPreference:
    """Return the preference of users who have none: failures of their own runs."""
    return NotificationPreference(occasion=Occasion.FAILURES, coverage=Coverage.OWN)


def preferences_for(organisation_id: int, workflow: str) -> dict[int, NotificationPreference]:
    """Return the preference that holds for a workflow, by the user's id; active users only."""
    rows = NotificationPreference.objects.filter(
        organisation_id=organisation_id, workflow__in=["", workflow], user__is_active=True
    )
    # The empty slug is the first, so the preference for the workflow replaces it.
    return {each.user_id: each for each in rows.select_related("user").order_by("workflow")}


@transaction.atomic
def save(scope: Scope, *, workflow: str, **fields: Any) -> NotificationPreference:
    """Write a preference: `occasion`, `coverage`, `in_list` and `mail`. Raises ValidationError."""
    own = NotificationPreference.objects.filter(user=scope.user, organisation=scope.organisation)
    if own.exclude(workflow=workflow).count() >= MAX_PREFERENCES:
        told = _("You have %(count)s preferences in this organisation. Remove one first.")
        raise ValidationError(told % {"count": MAX_PREFERENCES})
    saved, _created = own.update_or_create(
        user=scope.user, organisation=scope.organisation, workflow=workflow, defaults=fields
    )
    _drop_unwanted_mails(scope, workflow, saved)
    return saved


@transaction.atomic
def remove(scope: Scope, rows: "QuerySet[NotificationPreference]") -> bool:
    """Remove a preference of the user, if there is one: that of the organisation, or the default, holds again."""
    found = rows.filter(user=scope.user, organisation=scope.organisation).first()
    if found is None:
        return False
    found.delete()
    general = NotificationPreference.objects.filter(
        user=scope.user, organisation=scope.organisation, workflow=""
    )
    _drop_unwanted_mails(scope, found.workflow, general.first() or default())
    return True


def listed(user: User) -> "QuerySet[Notification]":
    """Return the user's list of notifications, newest first."""
    return Notification.objects.filter(user=user, channel=Channel.LIST)


def _drop_unwanted_mails(scope: Scope, workflow: str, held: NotificationPreference) -> None:
    """Delete the mails that wait, for a digest or for the mail server, and that nobody asks for any more.

    A preference for one workflow holds for mails, too, that the one for all workflows asked for. Those of
    other people's runs stay, which a preference for own runs would not ask for: a mail does not know who
    started its run.
    """
    waiting = Notification.objects.filter(
        user=scope.user,
        organisation=scope.organisation,
        channel=Channel.MAIL,
        ended_at=None,
        **({"workflow": workflow} if workflow else {"preference": ""}),
    )
    wanted = {
        Occasion.ALWAYS: Q(),
        Occasion.FAILURES: Q(result__in=FAILURES),
        Occasion.ON_CHANGE: ~Q(change=ResultChange.NONE),
    }.get(Occasion(held.occasion))
    if wanted is None or held.mail == MailRhythm.NONE:
        waiting.delete()
    else:
        waiting.exclude(wanted).delete()


def unsubscribe_path(mails: list[Notification]) -> str:
    """Return the path of the link that ends mails like these, which are for one user.

    One mail that is sent at once ends by its preference, a digest for all that it collects.
    """
    first = mails[0]
    value: dict[str, Any] = {"user": first.user_id}
    if first.rhythm == MailRhythm.AT_ONCE:
        value |= {"organisation": first.organisation_id, "workflow": first.preference}
    else:
        value |= {"rhythm": first.rhythm}
    # The worker, which sends mails, has no routes of pages.
    return f"/notifications/unsubscribe/{dumps(value, salt=_SALT, compress=True)}/"


class Unsubscription:
    """The mails that a link of `unsubscribe_path` ends. Raises BadSignature for any other text."""

    def __init__(self, token: str) -> None:
        value = loads(token, salt=_SALT)
        self._user = User.objects.filter(pk=value["user"], is_active=True).first()
        self._rhythm = value.get("rhythm", "")
        self._organisation = Organisation.objects.filter(pk=value.get("organisation")).first()
        self._workflow = value.get("workflow", "")
        if self._user is None or not (self._rhythm or self._organisation):
            raise BadSignature("The account or the organisation is gone.")

    @property
    def title(self) -> str:
        """The mails, for people."""
        if self._organisation is None:
            return _("daily digests") if self._rhythm == MailRhythm.DAILY else _("weekly digests")
        values = {"organisation": self._organisation.name, "workflow": self._workflow}
        if self._workflow:
            return _("mails about %(workflow)s of %(organisation)s") % values
        return _("mails about runs of %(organisation)s") % values

    @transaction.atomic
    def apply(self) -> None:
        """Send no further mails of this kind, and none of those that wait; the list stays."""
        rows = NotificationPreference.objects.filter(user=self._user)
        waiting = Notification.objects.filter(user=self._user, channel="mail", ended_at=None)
        if self._organisation is None:
            rows.filter(mail=self._rhythm).update(mail=MailRhythm.NONE)
            waiting.filter(rhythm=self._rhythm).delete()
            return
        # A preference that was removed meanwhile: the one that holds now goes on for the list.
        held = rows.filter(organisation=self._organisation, workflow="").first() or default()
        kept = {name: getattr(held, name) for name in ("occasion", "coverage", "in_list")}
        ended = {"mail": MailRhythm.NONE}
        chosen = {"organisation": self._organisation, "workflow": self._workflow}
        NotificationPreference.objects.update_or_create(
            user=self._user, **chosen, defaults=ended, create_defaults=kept | ended
        )
        waiting.filter(organisation=self._organisation, preference=self._workflow).delete()
