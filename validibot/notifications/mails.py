"""The mails of notifications, rendered in the language of their user.

Their headers let mail programs offer "unsubscribe" with one click (RFC 2369 and RFC 8058).
"""

from collections.abc import Mapping
from email.policy import default as default_policy
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext as _, ngettext

from validibot.accounts.models import User
from validibot.accounts.profile import known_language, zone_of
from validibot.core.words import word_of
from validibot.notifications.models import MailRhythm, Notification
from validibot.notifications.preferences import unsubscribe_path

# The longest line that RFC 5322 allows, without its end.
MAX_HEADER_LINE = 998


class NotificationMail(EmailMultiAlternatives):
    """A mail whose headers are not folded: Python would encode a long address, which no program reads."""

    def message(self, *, policy: Any = default_policy) -> Any:
        unfolded = policy.clone(max_line_length=MAX_HEADER_LINE)
        return super().message(policy=unfolded)


def mail_of(notification: Notification) -> NotificationMail:
    """Return the mail about one run."""
    with translation.override(_language(notification.user)):
        change = notification.get_change_display() if notification.change else ""
        subject = f"{word_of(notification.result)}: {notification.title}"
        return _message(
            "run",
            [notification],
            subject=f"{change}: {notification.title}" if change else subject,
            message_id=f"notification-{notification.pk}",
        )


def digest_of(notifications: list[Notification], results: Mapping[str, int]) -> NotificationMail:
    """Return one mail about the runs of a day or week.

    It lists `notifications`; `results` are the numbers of all runs, by result.
    """
    user = notifications[0].user
    zone = zone_of(user.time_zone) or timezone.get_default_timezone()
    with translation.override(_language(user)), timezone.override(zone):
        count = sum(results.values())
        failed = count - results.get("PASS", 0)
        runs = ngettext("%(count)d run", "%(count)d runs", count) % {"count": count}
        kind = (
            _("Daily digest") if notifications[0].rhythm == MailRhythm.DAILY else _("Weekly digest")
        )
        return _message(
            "digest",
            notifications,
            subject=_("%(kind)s: %(runs)s, %(failed)d not passed")
            % {"kind": kind, "runs": runs, "failed": failed},
            message_id=f"digest-{notifications[-1].pk}",
            kind=kind,
            results=sorted(results.items()),
            left_out=count - len(notifications),
        )


def _message(
    template: str,
    notifications: list[Notification],
    *,
    subject: str,
    message_id: str,
    **context: object,
) -> NotificationMail:
    address = f"{settings.SITE_URL}{unsubscribe_path(notifications)}"
    context |= {
        "notifications": notifications,
        "notification": notifications[0],
        "unsubscribe_url": address,
        "settings_url": f"{settings.SITE_URL}/app/users/notifications/settings/",
        "language": translation.get_language(),
    }
    message = NotificationMail(
        # On one line: a file may be called as it likes, and a header must not be broken.
        subject=" ".join(subject.split()),
        body=render_to_string(f"notifications/{template}.txt", context),
        to=[notifications[0].user.email],
        headers={
            # The same for each try, so that mailboxes can drop a repeated mail.
            "Message-ID": f"<{message_id}@{urlsplit(settings.SITE_URL).hostname or 'validibot'}>",
            "List-Unsubscribe": f"<{address}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Auto-Submitted": "auto-generated",
        },
    )
    html = render_to_string(f"notifications/{template}.html", context)
    message.attach_alternative(html, "text/html")
    return message


def _language(user: User) -> str:
    return known_language(user.language) or str(settings.LANGUAGE_CODE)
