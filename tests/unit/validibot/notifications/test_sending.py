"""Mails of notifications: sent once, collected in digests, ended by one click."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from email.policy import SMTP
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import time_machine
from django.core import mail
from django.db.models import Model
from django.db.models.signals import ModelSignal, post_init
from django.test import Client
from django.utils import timezone

from tests.factories import MembershipFactory, OrganisationFactory
from validibot.accounts.models import Membership
from validibot.notifications.mails import mail_of
from validibot.notifications.models import Notification, NotificationPreference
from validibot.notifications.sending import (
    RETRY,
    enqueue_digests,
    purge_notifications,
    send_digest,
    send_notification,
    sweep_mails,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Membership:
    membership: Membership = MembershipFactory.create()
    return membership


def waiting(ada: Membership, **fields: Any) -> Notification:
    values = {
        "user": ada.user,
        "organisation": ada.organisation,
        "run": uuid4(),
        "workflow": "office",
        "channel": "mail",
        "rhythm": "at_once",
        "title": "a.json · Office",
        "result": "FAIL",
        "due_at": timezone.now(),
    }
    return Notification.objects.create(**values | fields)


@contextmanager
def signal_connected(signal: ModelSignal, receiver: Any, sender: type[Model]) -> Iterator[None]:
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)


def unsubscribe_link() -> str:
    header = str(mail.outbox[-1].extra_headers["List-Unsubscribe"])
    return urlsplit(header.strip("<>")).path


def test_mail_is_sent_once_with_result_finding_and_links(ada: Membership) -> None:
    row = waiting(ada, finding="373 kWh/m² > 200.", change="broken")

    send_notification.call(row.pk)
    send_notification.call(row.pk)

    (sent,) = mail.outbox
    assert sent.subject == "Fails now: a.json · Office"
    assert sent.to == [ada.user.email]
    for text in ("373 kWh/m² > 200.", row.url, unsubscribe_link()):
        assert text in str(sent.body)
    assert sent.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("character", ["\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"])
def test_file_name_cannot_break_mail_subject(ada: Membership, character: str) -> None:
    message = mail_of(waiting(ada, title=f"a{character}Bcc: all@example.org"))

    assert message.message()["Subject"] == "Failed: a Bcc: all@example.org"


def test_text_of_user_is_escaped_in_html(ada: Membership) -> None:
    message = mail_of(waiting(ada, title="<b>.json", finding="a & b"))

    ((html, _media_type),) = message.alternatives
    assert "<strong>&lt;b&gt;.json</strong>" in str(html)
    assert "a &amp; b" in str(html)


def test_outage_of_mail_server_is_survived(
    ada: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = waiting(ada)
    with monkeypatch.context() as outage:

        def fail(*_: object, **__: object) -> None:
            raise SMTPServerDisconnected("gone")

        outage.setattr("django.core.mail.EmailMultiAlternatives.send", fail)
        with pytest.raises(SMTPServerDisconnected):
            send_notification.call(row.pk)
    send_notification.call(row.pk)
    assert not mail.outbox

    with time_machine.travel(timezone.now() + RETRY + dt.timedelta(minutes=2)):
        assert (sweep_mails(), sweep_mails()) == (1, 0)
        send_notification.call(row.pk)

    assert len(mail.outbox) == 1


def test_mail_that_cannot_be_sent_for_days_is_given_up(ada: Membership) -> None:
    days = dt.timedelta(days=4)
    old = waiting(ada, created_at=timezone.now() - days, due_at=timezone.now() - days)
    digest = waiting(ada, created_at=timezone.now() - days, rhythm="weekly")

    assert sweep_mails() == 0

    old.refresh_from_db()
    digest.refresh_from_db()
    assert old.error == "The mail could not be sent for days."
    assert digest.ended_at is None


def test_link_in_header_is_neither_folded_nor_encoded(ada: Membership) -> None:
    """Mail programs read the header only if it is one plain address."""
    raw = mail_of(waiting(ada)).message(policy=SMTP).as_bytes().decode()

    (line,) = [each for each in raw.splitlines() if each.startswith("List-Unsubscribe:")]
    assert line.startswith("List-Unsubscribe: <http")
    assert line.endswith("/>")


def test_refused_recipient_is_recorded(ada: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    row = waiting(ada)

    def refuse(*_: object, **__: object) -> None:
        raise SMTPRecipientsRefused({"x@example.org": (550, b"no")})

    monkeypatch.setattr("django.core.mail.EmailMultiAlternatives.send", refuse)
    send_notification.call(row.pk)

    row.refresh_from_db()
    assert row.ended_at
    assert "550" in row.error


def test_closed_account_gets_no_mail(ada: Membership) -> None:
    ada.user.is_active = False
    ada.user.save()

    send_notification.call(waiting(ada).pk)

    assert not mail.outbox


def test_digest_collects_what_is_due(ada: Membership) -> None:
    later = timezone.now() + dt.timedelta(days=1)
    waiting(ada, rhythm="daily", title="one.json")
    waiting(ada, rhythm="daily", title="two.json", result="PASS", change="fixed")
    waiting(ada, rhythm="daily", title="tomorrow.json", due_at=later)
    waiting(ada, rhythm="weekly", title="week.json")

    assert enqueue_digests() == {"digests": 2}
    assert enqueue_digests() == {"digests": 0}

    daily, weekly = sorted(mail.outbox, key=lambda sent: sent.subject)
    assert daily.subject == "Daily digest: 2 runs, 1 not passed"
    assert weekly.subject == "Weekly digest: 1 run, 1 not passed"
    assert all(text in str(daily.body) for text in ("one.json", "two.json", "Passes again"))
    assert "tomorrow.json" not in str(daily.body)


def test_digest_of_many_runs_loads_what_it_lists(
    ada: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.notifications.sending.MAX_DIGEST", 2)
    for number in range(5):
        waiting(ada, rhythm="daily", title=f"{number}.json", result="FAIL" if number else "PASS")
    loaded = []

    def count(**_: object) -> None:
        loaded.append(1)

    with signal_connected(post_init, count, Notification):
        send_digest.call(ada.user_id, "daily")

    (sent,) = mail.outbox
    assert sent.subject == "Daily digest: 5 runs, 4 not passed"
    assert "3 more runs are not listed." in str(sent.body)
    assert "1.json" in str(sent.body)
    assert "2.json" not in str(sent.body)
    assert len(loaded) == 2
    assert not Notification.objects.filter(ended_at=None).exists()


def test_one_click_ends_mails_and_keeps_the_list(ada: Membership) -> None:
    send_notification.call(waiting(ada).pk)
    pending = waiting(ada)
    browser = Client(enforce_csrf_checks=True)

    assert browser.get(unsubscribe_link()).status_code == 200
    assert not NotificationPreference.objects.exists()
    answer = browser.post(unsubscribe_link(), {"List-Unsubscribe": "One-Click"})

    row = NotificationPreference.objects.get()
    assert answer.status_code == 200
    assert (row.user, row.mail, row.in_list) == (ada.user, "none", True)
    assert not Notification.objects.filter(pk=pending.pk).exists()


def test_one_click_for_removed_preference_keeps_what_the_list_shows(ada: Membership) -> None:
    holds = {"occasion": "always", "coverage": "all"}
    general = {"user": ada.user, "organisation": ada.organisation, **holds}
    NotificationPreference.objects.create(**general)
    send_notification.call(waiting(ada, preference="office").pk)

    Client().post(unsubscribe_link())

    row = NotificationPreference.objects.get(workflow="office")
    assert (row.occasion, row.coverage, row.mail) == ("always", "all", "none")


def test_one_click_on_digest_ends_it_everywhere(ada: Membership) -> None:
    other = OrganisationFactory.create()
    for organisation, rhythm in ((ada.organisation, "daily"), (other, "weekly")):
        NotificationPreference.objects.create(user=ada.user, organisation=organisation, mail=rhythm)
    waiting(ada, rhythm="daily")
    enqueue_digests()

    Client().post(unsubscribe_link())

    mails = dict(NotificationPreference.objects.values_list("organisation", "mail"))
    assert mails == {ada.organisation.pk: "none", other.pk: "weekly"}


@pytest.mark.parametrize("token", ["x", "a:b:c", "%00"])
def test_forged_unsubscribe_link_is_refused(token: str) -> None:
    path = f"/notifications/unsubscribe/{token}/"

    assert Client().get(path).status_code == 404
    assert Client().post(path).status_code == 404


def test_old_notifications_are_purged(ada: Membership) -> None:
    waiting(ada, created_at=timezone.now() - dt.timedelta(days=91))
    waiting(ada)

    assert purge_notifications(timezone.now() - dt.timedelta(days=90)) == 1
    assert Notification.objects.count() == 1
