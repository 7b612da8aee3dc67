"""The pages of webhooks."""

from typing import Any

import pytest
from django.test import Client

from tests.factories import MembershipFactory
from validibot.accounts.models import Membership
from validibot.webhooks.editing import MAX_WEBHOOKS
from validibot.webhooks.models import Webhook, WebhookDelivery

pytestmark = pytest.mark.django_db
FORM = {
    "name": "Chat",
    "url": "https://hooks.example.org/in",
    "events": ["run.failed"],
    "style": "standard",
}


@pytest.fixture
def owner(client: Client) -> Membership:
    membership = MembershipFactory.create()
    client.force_login(membership.user)
    return membership


def at(owner: Membership, path: str = "") -> str:
    return f"/app/orgs/{owner.organisation.slug}/settings/webhooks/{path}"


@pytest.fixture
def webhook(client: Client, owner: Membership) -> Webhook:
    client.post(at(owner), FORM)
    return Webhook.objects.get()


def test_created_webhook_shows_its_secret(
    client: Client, owner: Membership, webhook: Webhook
) -> None:
    page = client.get(at(owner, f"{webhook.pk}/")).content.decode()

    assert "whsec_" in page
    assert 'aria-current="page">Settings<' in page
    assert (webhook.organisation, webhook.events) == (owner.organisation, ["run.failed"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": "http://example.org"}, "must be an address that begins with https://"),
        ({"events": ["nothing"]}, "not one of the available choices"),
        ({"events": []}, "This field is required"),
        ({"name": "x" * 101}, "at most 100 characters"),
    ],
)
def test_unusable_webhook_is_explained_and_not_saved(
    client: Client, owner: Membership, change: dict[str, Any], told: str
) -> None:
    answer = client.post(at(owner), FORM | change)

    assert answer.status_code == 422
    assert told in answer.content.decode()
    assert not Webhook.objects.exists()


def test_number_of_webhooks_is_limited(client: Client, owner: Membership, webhook: Webhook) -> None:
    Webhook.objects.bulk_create(
        Webhook(organisation=owner.organisation, name="x", url="https://x.org")
        for _ in range(MAX_WEBHOOKS - 1)
    )

    answer = client.post(at(owner), FORM)

    assert "An organisation has at most 50 webhooks." in answer.content.decode()


def test_new_secret_and_switch_change_the_webhook(
    client: Client, owner: Membership, webhook: Webhook
) -> None:
    client.post(at(owner, f"{webhook.pk}/rotate/"))
    for state in ("off", "off", "maybe"):
        client.post(at(owner, f"{webhook.pk}/switch/"), {"state": state})

    webhook.refresh_from_db()
    assert (webhook.secret_version, webhook.is_active) == (2, False)


def test_test_message_is_listed_and_can_be_sent_again(
    client: Client, owner: Membership, webhook: Webhook
) -> None:
    client.post(at(owner, f"{webhook.pk}/test/"))
    sent = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(status="FAILED", error="The receiver answered 500.")
    client.post(at(owner, f"{webhook.pk}/deliveries/{sent.pk}/resend/"))

    page = client.get(at(owner, f"{webhook.pk}/")).content.decode()

    assert "The receiver answered 500." in page
    assert WebhookDelivery.objects.count() == 2


def test_deleted_webhook_is_gone(client: Client, owner: Membership, webhook: Webhook) -> None:
    client.post(at(owner, f"{webhook.pk}/delete/"))

    assert client.get(at(owner, f"{webhook.pk}/")).status_code == 404
