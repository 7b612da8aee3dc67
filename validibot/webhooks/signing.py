"""Secrets and signatures of webhooks."""

import base64
import hashlib
import hmac

from django.conf import settings
from django.utils import timezone
from standardwebhooks import Webhook as Signer

from validibot.webhooks.models import Webhook


def secret_of(webhook: Webhook) -> str:
    """Return the secret that the receiver verifies signatures with: `whsec_<base64>`.

    It is derived, so that a stolen table signs nothing, and is another one for each `secret_version`.
    """
    told = f"webhook {webhook.public_id} {webhook.secret_version}".encode()
    key = hmac.new(settings.API_KEY_PEPPER.encode(), told, hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(key).decode()}"


def headers_of(webhook: Webhook, message_id: str, body: str) -> dict[str, str]:
    """Return the headers that identify and sign a message that is sent now."""
    now = timezone.now()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(secret_of(webhook)).sign(message_id, now, body),
    }
