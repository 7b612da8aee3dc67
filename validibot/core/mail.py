"""Mail: its delivery, and mails that a background task sends.

The request that causes an account mail only stores it, so neither the mail server nor its failure shows
in the time of the answer. The message is a row of its own, not an argument of the task: a reset link
opens an account, and arguments are shown in the admin site, in logs and in dead letters. The row is
not shown anywhere; it is deleted when the mail has been sent, and by the purge after a day. If the queue
cannot be reached the mail is lost, and its recipient asks for another one.

A mail that its recipient's server refuses for good (an SMTP reply of 5xx) can never be delivered; it is
told apart from an outage, after which the same mail is sent again.
"""

import logging
from smtplib import SMTPRecipientsRefused
from uuid import UUID

from anymail.exceptions import AnymailRecipientsRefused
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.db import transaction
from django.tasks import task

from validibot.core.models import PendingMail, RowId

logger = logging.getLogger(__name__)


class RecipientRefused(Exception):
    """The recipient is refused for good."""


def deliver(message: EmailMessage) -> None:
    """Send a mail. Raises RecipientRefused, and the mailer's own errors in an outage."""
    try:
        message.send()
    except AnymailRecipientsRefused as error:
        raise RecipientRefused(str(error)) from error
    except SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if not all(500 <= code < 600 for code in codes):
            raise
        raise RecipientRefused(f"{', '.join(message.to)}: SMTP replies {codes}") from error


def send_later(message: EmailMessage) -> None:
    """Store a mail and enqueue the task that sends it."""
    html = [part.content for part in getattr(message, "alternatives", [])]
    row = PendingMail.objects.create(
        sender=message.from_email,
        recipients=message.to,
        reply_to=", ".join(message.reply_to),
        subject=str(message.subject),
        text=str(message.body),
        html=html[0] if html else "",
    )
    # Robust: an unreachable queue is logged and does not fail the request.
    transaction.on_commit(lambda: send_pending_mail.enqueue(str(row.pk)), robust=True)


@task
def send_pending_mail(mail_id: RowId) -> None:
    """Send a stored mail and delete it; a mail that is not there has been sent already."""
    row = PendingMail.objects.filter(pk=UUID(mail_id)).first()
    if row is None:
        return
    message = EmailMultiAlternatives(
        row.subject,
        row.text,
        row.sender,
        row.recipients,
        reply_to=[row.reply_to] if row.reply_to else [],
    )
    if row.html:
        message.attach_alternative(row.html, "text/html")
    try:
        deliver(message)
    except RecipientRefused as error:
        logger.warning("mail %s is not delivered: %s", mail_id, error)
    row.delete()
