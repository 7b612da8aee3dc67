"""The waitlist of people who want an account while sign-up is by invitation or closed.

A person who joins confirms the address by a link (double opt-in). Operators invite in the admin site: that mail
has a link, with which the browser may sign up with the address. Links are signed, not stored. Neither
the answers nor their time tell whether an address is on the list or has an account.
"""

import datetime as dt
from collections.abc import Iterable

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.signing import BadSignature, dumps, loads
from django.db import transaction
from django.db.models import Q
from django.tasks import task
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import User, WaitlistEntry
from validibot.core.mail import send_later
from validibot.core.models import SignUp, SiteSettings
from validibot.core.throttle import FailureLimit

# Of links, of entries that are not confirmed, and of invitations.
LIFETIME = dt.timedelta(days=14)
BATCH = 1000
_BY_ADDRESS = FailureLimit("waitlist-of-address", count=10, seconds=3600)
_MAILS = FailureLimit("waitlist-mails", count=3, seconds=86_400)
_CONFIRM, _JOIN = "validibot.waitlist.confirm", "validibot.waitlist.join"


def is_offered() -> bool:
    """Return whether people can join: sign-up is not open to everybody."""
    return SiteSettings.load().sign_up != SignUp.OPEN


def join(email: str, *, address: str) -> None:
    """Enqueue the task that adds an address to the list; `address` is the client's IP address.

    Raises ValidationError after too many requests of one client.
    """
    if seconds := _BY_ADDRESS.exceeded_after(address):
        told = _("Too many addresses were entered here. Try again in %(minutes)d minutes.")
        raise ValidationError(told % {"minutes": seconds // 60 + 1})
    add_to_waitlist.enqueue(email.lower())


@task
@transaction.atomic
def add_to_waitlist(email: str) -> None:
    """Put an address on the list and mail its link.

    Nothing is mailed to an address that has an account or is confirmed, nor more than three times a
    day.
    """
    if User.objects.filter(email=email).exists() or _MAILS.exceeded_after(email):
        return
    entry, _created = WaitlistEntry.objects.get_or_create(email=email)
    # The entry is kept for as long as the link in the newest mail works.
    unconfirmed = WaitlistEntry.objects.filter(pk=entry.pk, confirmed_at=None)
    if unconfirmed.update(created_at=timezone.now()):
        _mail(entry, "waitlist_confirm", _("Confirm your place on the waitlist"), salt=_CONFIRM)


def find(token: str) -> WaitlistEntry:
    """Return the entry of a link for confirming. Raises BadSignature."""
    return _entry(token, salt=_CONFIRM)


def confirm(entry: WaitlistEntry) -> None:
    """Confirm the address of an entry; done again it changes nothing."""
    WaitlistEntry.objects.filter(pk=entry.pk, confirmed_at=None).update(confirmed_at=timezone.now())


def leave(entry: WaitlistEntry) -> None:
    """Take an address off the list."""
    WaitlistEntry.objects.filter(pk=entry.pk).delete()


def invite(entries: Iterable[WaitlistEntry]) -> int:
    """Mail an invitation to each confirmed address; return to how many.

    Raises ValidationError unless sign-up is by invitation: otherwise the link would open nothing, or
    nobody would need it.
    """
    if SiteSettings.load().sign_up != SignUp.INVITATION:
        raise ValidationError(_("Set sign-up to “By invitation only” in the site settings first."))
    invited = 0
    for entry in entries:
        with transaction.atomic():
            confirmed = WaitlistEntry.objects.filter(pk=entry.pk, confirmed_at__isnull=False)
            if not confirmed.update(invited_at=timezone.now()):
                continue
            audit.record(None, "waitlist.invited", entry.email)
            _mail(entry, "waitlist_invitation", _("Your account on Validibot"), salt=_JOIN)
            invited += 1
    return invited


def invited_email(token: str) -> str:
    """Return the address that the link of an invitation is for. Raises BadSignature."""
    entry = _entry(token, salt=_JOIN)
    if not is_invited(entry.email):
        raise BadSignature("The invitation has expired.")
    return entry.email


def is_invited(email: str) -> bool:
    """Return whether an address was invited, lately enough."""
    since = timezone.now() - LIFETIME
    return WaitlistEntry.objects.filter(email=email, invited_at__gt=since).exists()


def purge_entries(before: dt.datetime) -> int:
    """Delete a batch of entries that were not confirmed in time, or whose address has an account."""
    known = User.objects.filter(email__in=WaitlistEntry.objects.values("email")).values("email")
    is_late = Q(confirmed_at=None, created_at__lt=before)
    old = WaitlistEntry.objects.filter(is_late | Q(email__in=known)).values("pk")[:BATCH]
    return WaitlistEntry.objects.filter(pk__in=old).delete()[0]


def _entry(token: str, *, salt: str) -> WaitlistEntry:
    email = loads(token, salt=salt, max_age=LIFETIME)
    entry = WaitlistEntry.objects.filter(email=email).first()
    if entry is None:
        raise BadSignature("The address is not on the waitlist any more.")
    return entry


def _mail(entry: WaitlistEntry, template: str, subject: str, *, salt: str) -> None:
    token = dumps(entry.email, salt=salt)
    part = "join/" if salt == _JOIN else ""
    context = {"url": f"{settings.SITE_URL}/waitlist/{token}/{part}", "days": LIFETIME.days}
    body = render_to_string(f"accounts/mail/{template}.txt", context)
    send_later(EmailMessage(subject, body, to=[entry.email]))
