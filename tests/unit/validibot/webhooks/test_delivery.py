"""Deliveries of webhooks: who is told, signatures, retries, and addresses that are refused."""

import datetime as dt
import socket
from typing import Any
from uuid import UUID

import pytest
import requests
import responses
import time_machine
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from standardwebhooks import Webhook as Verifier

from tests.factories import OrganisationFactory, RunFactory, StepFactory, StepRunFactory
from validibot.accounts.models import Organisation
from validibot.core.outbound import AddressRefused, check_address
from validibot.runs.lifecycle import cancel_run
from validibot.webhooks.delivery import (
    MAX_FAILURE,
    RETRY_SECONDS,
    announce,
    deliver_webhook,
    post,
    purge_deliveries,
    resend,
    sweep_deliveries,
)
from validibot.webhooks.models import MessageStyle, Webhook, WebhookDelivery
from validibot.webhooks.signing import secret_of

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/in"


@pytest.fixture
def acme() -> Organisation:
    return OrganisationFactory.create()


@pytest.fixture
def webhook(acme: Organisation) -> Webhook:
    return Webhook.objects.create(
        organisation=acme, name="Chat", url=URL, events=["run.failed", "run.canceled"]
    )


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer for `URL` in place of the network; its name leads to a public address."""
    monkeypatch.setattr(
        "requests_hardened.ip_filter.socket.getaddrinfo",
        lambda *_, **__: [(2, 1, 6, "", ("93.184.215.14", 443))],
    )
    with responses.RequestsMock(assert_all_requests_are_fired=False) as receiver:
        yield receiver


def waiting(webhook: Webhook, **data: Any) -> WebhookDelivery:
    row = WebhookDelivery.of(webhook, "run.failed", data)
    row.save()
    return row


def attempted(row: WebhookDelivery) -> WebhookDelivery:
    """Deliver the message when it is due, and return its row as it is then."""
    with time_machine.travel(row.due_at, tick=False):
        deliver_webhook.func(str(row.pk))
    return WebhookDelivery.objects.get(pk=row.pk)


def test_event_is_announced_to_webhooks_that_want_it(
    acme: Organisation,
    webhook: Webhook,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    Webhook.objects.create(
        organisation=acme, name="Off", url=URL, events=["run.failed"], is_active=False
    )
    Webhook.objects.create(organisation=acme, name="Else", url=URL, events=["run.passed"])
    Webhook.objects.create(
        organisation=OrganisationFactory.create(), name="Theirs", url=URL, events=["run.failed"]
    )

    announce(acme.pk, "run.failed", lambda: {"run": "1"})

    row = WebhookDelivery.objects.get()
    assert (row.webhook, row.document["type"], row.document["data"]) == (
        webhook,
        "run.failed",
        {"run": "1"},
    )


def test_end_of_run_is_announced_once(webhook: Webhook, acme: Organisation) -> None:
    step = StepFactory.create(workflow__organisation=acme)
    run = RunFactory.create(workflow=step.workflow)
    StepRunFactory.create(run=run, step=step)

    cancel_run(run.pk, actor="ada")
    cancel_run(run.pk, actor="ada")

    data = WebhookDelivery.objects.get().document["data"]
    assert (data["run"], data["result"]) == (str(run.pk), "CANCELED")
    assert data["url"].endswith(f"/app/orgs/{acme.slug}/runs/{run.pk}/")


def test_message_is_signed_as_standard_webhooks(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL, status=204)
    row = waiting(webhook, run="1")

    status, _text, error = post(row)

    request = receiver.calls[0].request
    verified = Verifier(secret_of(webhook)).verify(request.body, dict(request.headers))
    assert (status, error) == (204, "")
    assert (verified["type"], verified["data"]) == ("run.failed", {"run": "1"})
    assert request.headers["webhook-id"] == f"msg_{row.pk.hex}"


def test_secret_differs_by_webhook_and_version(webhook: Webhook) -> None:
    other = Webhook(organisation=webhook.organisation)
    first = secret_of(webhook)
    webhook.secret_version += 1

    assert len({first, secret_of(webhook), secret_of(other)}) == 3


def test_message_is_sent_in_style_of_webhook(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL)
    webhook.style = MessageStyle.SLACK

    post(waiting(webhook, text="FAIL: a.json", url="https://runs.example.org/1"))

    request = receiver.calls[0].request
    body = Verifier(secret_of(webhook)).verify(request.body, dict(request.headers))
    assert body == {"text": "*FAIL: a.json*\n<https://runs.example.org/1|Open the run>"}


def test_delivered_message_is_not_sent_again(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL, body="thanks")

    row = attempted(waiting(webhook))
    attempted(row)

    assert (row.status, row.response_status, row.response_text) == ("DELIVERED", 200, "thanks")
    assert len(receiver.calls) == 1


def test_failing_receiver_is_tried_again_for_a_day(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL, status=500, body="\x00broken")
    row = waiting(webhook)
    began = row.due_at

    waits = []
    while row.status == "PENDING":
        tried = attempted(row)
        if tried.status == "PENDING":
            waits.append(round((tried.due_at - row.due_at).total_seconds()))
        row = tried

    assert tuple(waits) == RETRY_SECONDS
    assert row.error == "The receiver answered 500."
    assert (row.due_at - began) < dt.timedelta(days=1, minutes=5)
    webhook.refresh_from_db()
    assert (webhook.is_active, webhook.failing_since is not None) == (True, True)


def test_webhook_that_fails_for_days_is_switched_off(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL, status=500)
    webhook.failing_since = timezone.now() - MAX_FAILURE - dt.timedelta(hours=1)
    webhook.save()
    row = waiting(webhook)
    WebhookDelivery.objects.update(attempts=len(RETRY_SECONDS))

    row = attempted(row)

    webhook.refresh_from_db()
    assert (row.status, webhook.is_active) == ("FAILED", False)
    assert webhook.disabled_reason.startswith("No message was delivered since")


def test_receiver_that_is_gone_is_told_nothing_more(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL, status=410)
    later = waiting(webhook)

    attempted(waiting(webhook))

    assert attempted(later).error == "The webhook is switched off."
    assert len(receiver.calls) == 1


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (requests.ConnectTimeout(), "The receiver cannot be reached: ConnectTimeout."),
        (requests.exceptions.SSLError(), "The receiver cannot be reached: SSLError."),
    ],
)
def test_unreachable_receiver_is_told_apart(
    webhook: Webhook, receiver: Any, failure: Exception, told: str
) -> None:
    receiver.post(URL, body=failure)

    assert attempted(waiting(webhook)).error == told


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_receiver_that_answers_too_slowly_is_cut_off(
    webhook: Webhook, settings: Settings, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    settings.WEBHOOKS_MAY_BE_LOCAL = True
    monkeypatch.setattr("validibot.webhooks.delivery.EXCHANGE_SECONDS", 0.01)
    ours, theirs = socket.socketpair()
    monkeypatch.setattr("urllib3.util.connection.create_connection", lambda *_, **__: ours)
    webhook.url = f"{scheme}://slow.example.org/"

    with theirs:
        status, _text, error = post(waiting(webhook))

    assert (status, error) == (None, "The receiver took more than 0.01 s. Answer at once.")


def test_redirect_is_not_followed(webhook: Webhook, receiver: Any) -> None:
    receiver.post(URL, status=302, headers={"Location": "http://169.254.169.254/"})

    row = attempted(waiting(webhook))

    assert (row.error, len(receiver.calls)) == ("The receiver answered 302.", 1)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1"]
)
def test_name_that_leads_into_private_network_is_refused(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(
        "requests_hardened.ip_filter.socket.getaddrinfo",
        lambda *_, **__: [(family, socket.SOCK_STREAM, 6, "", (address, 443))],
    )

    status, _text, error = post(waiting(webhook))

    assert (status, error) == (
        None,
        "The address leads into a private network. Use a public address.",
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "https://",
        "nonsense",
        "https://a:b@c.org/",
        "",
        "https://[::1",
    ],
)
def test_unusable_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(url)


def test_local_address_is_taken_where_the_site_allows_it(settings: Settings) -> None:
    settings.WEBHOOKS_MAY_BE_LOCAL = True

    check_address("http://localhost:8099/")


def test_sweep_enqueues_deliveries_whose_entry_was_lost(
    webhook: Webhook,
    receiver: Any,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    receiver.post(URL)
    lost = waiting(webhook)
    WebhookDelivery.objects.update(due_at=timezone.now() - dt.timedelta(minutes=5))
    waiting(webhook)  # its entry may be on its way

    with django_capture_on_commit_callbacks(execute=True):
        assert sweep_deliveries() == 1

    assert WebhookDelivery.objects.get(pk=lost.pk).status == "DELIVERED"


def test_message_that_is_sent_again_is_another_delivery(
    webhook: Webhook,
    receiver: Any,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    receiver.post(URL)
    first = attempted(waiting(webhook, run="1"))

    with django_capture_on_commit_callbacks(execute=True):
        second = resend(first)

    second.refresh_from_db()
    assert (second.status, second.document) == ("DELIVERED", first.document)
    assert second.message_id != first.message_id


def test_purge_removes_only_ended_deliveries(webhook: Webhook) -> None:
    old = waiting(webhook)
    WebhookDelivery.objects.filter(pk=old.pk).update(ended_at=timezone.now() - dt.timedelta(2))
    kept = waiting(webhook)

    assert purge_deliveries(timezone.now()) == 1
    assert list(WebhookDelivery.objects.all()) == [kept]


ENTRIES = st.tuples(st.integers(0, 2), st.sampled_from([0, 5, 30, 4000]), st.booleans())


@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ENTRIES, min_size=1, max_size=12))
def test_any_order_of_entries_delivers_each_message_once(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, entries: list[tuple[int, int, bool]]
) -> None:
    """An entry of the queue names a message, comes some seconds later, and its receiver accepts or fails."""
    sent: list[UUID] = []
    accepted: list[UUID] = []
    answers: list[bool] = []

    def receive(row: WebhookDelivery) -> tuple[int, str, str]:
        sent.append(row.pk)
        accepted.extend([row.pk] if answers[-1] else [])
        return (200, "", "") if answers[-1] else (500, "", "The receiver answered 500.")

    monkeypatch.setattr("validibot.webhooks.delivery.post", receive)
    with transaction.atomic(), time_machine.travel(timezone.now(), tick=False) as now:
        rows = [waiting(webhook, number=number) for number in range(3)]
        for number, seconds, is_up in entries:
            answers.append(is_up)
            now.shift(seconds)
            row = WebhookDelivery.objects.get(pk=rows[number].pk)
            is_due = row.status == "PENDING" and row.due_at <= timezone.now()
            before = len(sent)
            deliver_webhook.func(str(row.pk))
            assert sent[before:] == ([row.pk] if is_due else [])

        for row in WebhookDelivery.objects.all():
            assert row.attempts == sent.count(row.pk)
            assert accepted.count(row.pk) == (row.status == "DELIVERED")
        transaction.set_rollback(True)
