"""Changes of an organisation's webhooks, for pages and API."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Organisation
from validibot.accounts.scope import Scope
from validibot.core.outbound import AddressRefused, check_address
from validibot.tracking.events import track
from validibot.tracking.models import EventName
from validibot.webhooks.delivery import enqueue
from validibot.webhooks.models import TEST_EVENT, Webhook, WebhookDelivery

MAX_WEBHOOKS = 50


@transaction.atomic
def create(scope: Scope, *, name: str, url: str, events: Sequence[str], style: str) -> Webhook:
    """Create a webhook. Raises ValidationError for its address, and over `MAX_WEBHOOKS`."""
    _check(url)
    organisation = Organisation.locked(scope.organisation.pk)
    if organisation.webhooks.count() >= MAX_WEBHOOKS:
        told = _("An organisation has at most %(count)s webhooks. Delete one first.")
        raise ValidationError(told % {"count": MAX_WEBHOOKS})
    made = Webhook.objects.create(
        organisation=organisation,
        created_by=scope.user,
        name=name,
        url=url,
        events=list(events),
        style=style,
    )
    audit.record(organisation, "webhook.created", made, {"url": (None, _place(url))})
    ids = {"actor": scope.user.pk, "organisation": organisation.pk}
    track(EventName.WEBHOOK_CREATED, **ids, style=style)
    return made


@transaction.atomic
def edit(webhook: Webhook, **fields: Any) -> Webhook:
    """Change `name`, `url`, `events` or `style`. Raises ValidationError for the address."""
    if "url" in fields:
        _check(fields["url"])
    before = {name: getattr(webhook, name) for name in fields}
    changed = _update(webhook, **fields)
    changes = {name: (value, fields[name]) for name, value in before.items() if name != "url"}
    if "url" in before and before["url"] != fields["url"]:
        told = f"{_place(fields['url'])} (another address)"
        changes["url"] = (_place(before["url"]), told)
    audit.record(webhook.organisation_id, "webhook.changed", changed, changes)
    return changed


@transaction.atomic
def switch(webhook: Webhook, *, on: bool) -> Webhook:
    """Switch a webhook on or off; its failures are forgotten."""
    changes = {"is_active": (webhook.is_active, on)}
    audit.record(webhook.organisation_id, "webhook.switched", webhook, changes)
    return _update(webhook, is_active=on, disabled_reason="", failing_since=None)


@transaction.atomic
def rotate_secret(webhook: Webhook) -> Webhook:
    """Give a webhook another secret; the old one ends at once."""
    audit.record(webhook.organisation_id, "webhook.secret_rotated", webhook)
    return _update(webhook, secret_version=F("secret_version") + 1)


@transaction.atomic
def delete(webhook: Webhook) -> None:
    """Delete a webhook with its deliveries."""
    changes = {"url": (_place(webhook.url), None)}
    audit.record(webhook.organisation_id, "webhook.deleted", webhook, changes)
    webhook.delete()


def send_test(webhook: Webhook) -> WebhookDelivery:
    """Send a message to try the address, also while the webhook is switched off."""
    data = {
        "organisation": webhook.organisation.slug,
        "text": _("This is a test by Validibot."),
    }
    sent = WebhookDelivery.of(webhook, TEST_EVENT, data)
    sent.save()
    enqueue(sent)
    return sent


def _place(url: str) -> str:
    """Return scheme and host of an address; its path and query may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _update(webhook: Webhook, **fields: Any) -> Webhook:
    Webhook.objects.filter(pk=webhook.pk).update(**fields)
    webhook.refresh_from_db()
    return webhook


def _check(url: str) -> None:
    try:
        check_address(url)
    except AddressRefused as error:
        raise ValidationError({"url": str(error)}) from error
