"""Deliveries: announce an event, post its messages, and try again for a day.

`announce` writes a delivery for each webhook that wants the event, in the transaction of the change
that it tells about, and enqueues it after the commit. The receiver answers with a status of 2xx. Any
other answer, and none, is tried again after `RETRY_SECONDS`; 410 switches the webhook off at once, and
so does a failure that has lasted for `MAX_FAILURE`. A message may arrive twice, with the same id.

Messages go to public addresses only (`validibot.core.outbound`).
"""

import datetime as dt
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

import requests
from django.db import transaction
from django.db.models import F
from django.tasks import default_task_backend, task
from django.utils import timezone
from requests_hardened.ip_filter import InvalidIPAddress

from validibot.core.models import RowId
from validibot.core.outbound import Deadline, open_session
from validibot.webhooks.messages import body_of
from validibot.webhooks.models import (
    TEST_EVENT,
    DeliveryStatus,
    Webhook,
    WebhookDelivery,
)
from validibot.webhooks.signing import headers_of

# Slow receivers must not keep workers from runs.
QUEUE = "webhooks"
# The waits between attempts: nearly a day in all.
RETRY_SECONDS = (10, 60, 300, 1800, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600)
MAX_FAILURE = dt.timedelta(days=5)
# A receiver that answers byte by byte must not hold a worker.
EXCHANGE_SECONDS = 30
# A worker that has not finished an attempt by then has died.
ATTEMPT_SECONDS = 120
MAX_RESPONSE_BYTES = 1000
# Deliveries that one sweep enqueues again, or one batch of a purge deletes.
BATCH = 1000

logger = logging.getLogger(__name__)


def announce(organisation_id: int, event: str, data: Callable[[], dict[str, Any]]) -> None:
    """Tell the webhooks of an organisation about an event, after the commit of this transaction.

    `data` makes the data of the message; it is called only if there is a webhook to tell.
    """
    wanted = Webhook.objects.filter(
        organisation_id=organisation_id, is_active=True, events__contains=[event]
    )
    webhooks = list(wanted)
    if not webhooks:
        return
    told = data()
    for row in WebhookDelivery.objects.bulk_create(
        [WebhookDelivery.of(webhook, event, told) for webhook in webhooks]
    ):
        enqueue(row)


def enqueue(delivery: WebhookDelivery) -> None:
    """Enqueue a delivery for when it is due; if that is impossible the sweep does it."""

    def add() -> None:
        late = delivery.due_at > timezone.now()
        if late and not default_task_backend.supports_defer:
            return
        waiting = deliver_webhook.using(run_after=delivery.due_at) if late else deliver_webhook
        waiting.enqueue(str(delivery.pk))

    transaction.on_commit(add, robust=True)


def resend(delivery: WebhookDelivery) -> WebhookDelivery:
    """Send the message of an ended delivery again, as a new one."""
    again = WebhookDelivery(
        webhook=delivery.webhook, event=delivery.event, document=delivery.document
    )
    again.save()
    enqueue(again)
    return again


def sweep_deliveries() -> int:
    """Enqueue deliveries that are overdue, because an entry or a worker was lost."""
    overdue = timezone.now() - dt.timedelta(seconds=60)
    rows = WebhookDelivery.objects.filter(status=DeliveryStatus.PENDING, due_at__lt=overdue)
    lost = list(rows.order_by("due_at")[:BATCH])
    for row in lost:
        enqueue(row)
    return len(lost)


def purge_deliveries(before: dt.datetime) -> int:
    """Delete a batch of deliveries that ended before a moment; return how many."""
    old = WebhookDelivery.objects.filter(ended_at__lt=before).values("pk")[:BATCH]
    return WebhookDelivery.objects.filter(pk__in=old).delete()[0]


@task(queue_name=QUEUE)
def deliver_webhook(delivery_id: RowId) -> None:
    """Send a message, unless it was sent, is being sent, or is not due yet."""
    now = timezone.now()
    mine = WebhookDelivery.objects.filter(
        pk=UUID(delivery_id),
        status=DeliveryStatus.PENDING,
        due_at__lte=now + dt.timedelta(seconds=1),
    )
    held_until = now + dt.timedelta(seconds=ATTEMPT_SECONDS)
    if not mine.update(due_at=held_until, attempts=F("attempts") + 1):
        return
    delivery = WebhookDelivery.objects.select_related("webhook").get(pk=delivery_id)
    if not delivery.webhook.is_active and delivery.event != TEST_EVENT:
        _finish(delivery, DeliveryStatus.FAILED, error="The webhook is switched off.")
        return
    status, text, error = post(delivery)
    _record(delivery, status, text, error)


def post(delivery: WebhookDelivery) -> tuple[int | None, str, str]:
    """Post the message once; return (status, beginning of the answer, reason of a failure)."""
    webhook = delivery.webhook
    body = json.dumps(body_of(webhook.style, delivery.document))
    headers = headers_of(webhook, delivery.message_id, body) | {
        "Content-Type": "application/json",
        "User-Agent": "Validibot-Webhooks",
    }
    session = open_session()
    deadline = Deadline(session, EXCHANGE_SECONDS)
    try:
        with (
            session,
            deadline,
            session.post(webhook.url, data=body.encode(), headers=headers, stream=True) as answer,
        ):
            text = next(answer.iter_content(MAX_RESPONSE_BYTES), b"").decode("utf-8", "replace")
            if answer.ok and not answer.is_redirect:
                return answer.status_code, text, ""
            return answer.status_code, text, f"The receiver answered {answer.status_code}."
    except InvalidIPAddress:
        return None, "", "The address leads into a private network. Use a public address."
    except requests.RequestException as error:
        if deadline.has_passed:
            return None, "", f"The receiver took more than {EXCHANGE_SECONDS} s. Answer at once."
        return None, "", f"The receiver cannot be reached: {type(error).__name__}."


def _record(delivery: WebhookDelivery, status: int | None, text: str, error: str) -> None:
    """Write what became of an attempt, and when the next one is due."""
    delivery.response_status = status
    delivery.response_text = text.replace("\x00", "\ufffd")[:MAX_RESPONSE_BYTES]
    webhook = delivery.webhook
    if not error:
        Webhook.objects.filter(pk=webhook.pk).update(failing_since=None)
        _finish(delivery, DeliveryStatus.DELIVERED)
        return
    now = timezone.now()
    Webhook.objects.filter(pk=webhook.pk, failing_since=None).update(failing_since=now)
    webhook.refresh_from_db(fields=["failing_since"])
    if status == HTTPStatus.GONE:
        _switch_off(webhook, "The receiver answered 410: it wants no further messages.")
        _finish(delivery, DeliveryStatus.FAILED, error=error)
    elif delivery.attempts > len(RETRY_SECONDS):
        if webhook.failing_since and webhook.failing_since < now - MAX_FAILURE:
            _switch_off(webhook, f"No message was delivered since {webhook.failing_since:%-d %B}.")
        _finish(delivery, DeliveryStatus.FAILED, error=error)
    else:
        delivery.due_at = now + dt.timedelta(seconds=RETRY_SECONDS[delivery.attempts - 1])
        _save(delivery, error=error)
        enqueue(delivery)


def _switch_off(webhook: Webhook, reason: str) -> None:
    Webhook.objects.filter(pk=webhook.pk).update(is_active=False, disabled_reason=reason)
    logger.warning("webhook %s is switched off: %s", webhook.public_id, reason)


def _finish(delivery: WebhookDelivery, status: DeliveryStatus, *, error: str = "") -> None:
    delivery.status, delivery.ended_at = status, timezone.now()
    _save(delivery, error=error)


def _save(delivery: WebhookDelivery, *, error: str) -> None:
    """Write the delivery unless another worker has taken it over since this attempt began."""
    mine = WebhookDelivery.objects.filter(
        pk=delivery.pk, status=DeliveryStatus.PENDING, attempts=delivery.attempts
    )
    mine.update(
        status=delivery.status,
        ended_at=delivery.ended_at,
        due_at=delivery.due_at,
        response_status=delivery.response_status,
        response_text=delivery.response_text,
        error=error[:500],
    )
