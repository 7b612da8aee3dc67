"""Mails that a background task sends."""

from smtplib import SMTPRecipientsRefused

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from validibot.core.mail import send_later, send_pending_mail
from validibot.core.models import PendingMail

pytestmark = pytest.mark.django_db


@pytest.fixture
def pending() -> PendingMail:
    message = EmailMultiAlternatives("Reset", "link", "Us <us@example.org>", ["ann@example.org"])
    message.attach_alternative("<p>link</p>", "text/html")
    send_later(message)
    return PendingMail.objects.get()


def test_pending_mail_is_sent_once(pending: PendingMail) -> None:
    for _ in range(2):
        send_pending_mail.func(str(pending.pk))

    (sent,) = mail.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    assert (sent.subject, sent.body, sent.from_email) == ("Reset", "link", "Us <us@example.org>")
    assert (sent.to, sent.alternatives[0][0]) == (["ann@example.org"], "<p>link</p>")


@pytest.mark.parametrize(("code", "is_final"), [(550, True), (450, False)])
def test_mail_is_kept_unless_recipient_is_refused_for_good(
    pending: PendingMail, monkeypatch: pytest.MonkeyPatch, code: int, is_final: bool
) -> None:
    def refuse(_: object) -> None:
        raise SMTPRecipientsRefused({"ann@example.org": (code, b"no")})

    monkeypatch.setattr(EmailMultiAlternatives, "send", refuse)

    if is_final:
        send_pending_mail.func(str(pending.pk))
    else:
        with pytest.raises(SMTPRecipientsRefused):
            send_pending_mail.func(str(pending.pk))

    assert PendingMail.objects.exists() is not is_final
