"""An `Idempotency-Key` launches one run, however often the request is sent.

The key's row is written in the transaction that creates the run: a second request with the same key
waits for the first one's commit and then answers with its run. Keys are forgotten after a day.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass

from django.utils import timezone
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.core.problems import Problem
from validibot.runs.models import IdempotencyKey, Run

LIFETIME = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Claim:
    """A key's row; `replayed` is the run of an earlier request with the same key."""

    row: IdempotencyKey
    replayed: Run | None

    def bind(self, run: Run) -> None:
        """Remember `run` as what this key launched."""
        IdempotencyKey.objects.filter(pk=self.row.pk).update(run=run)


def digest(text: str) -> str:
    """Return the fingerprint of a request whose content `text` describes."""
    return hashlib.sha256(text.encode()).hexdigest()


def key_of(request: Request) -> str:
    """Return the request's key, or an empty string. Raises Problem for a bad one."""
    key: str = request.headers.get("Idempotency-Key", "")
    if len(key) > 255 or "\x00" in key:
        raise Problem(
            400, "idempotency_key_too_long", "Idempotency-Key has more than 255 characters."
        )
    return key


def claim(scope: Scope, key: str, fingerprint: str) -> Claim:
    """Take `key` for this request, inside the transaction that creates the run."""
    own = IdempotencyKey.objects.filter(organisation=scope.organisation, user=scope.user, key=key)
    own.filter(created_at__lt=timezone.now() - LIFETIME).delete()
    row, created = own.select_related("run").get_or_create(
        organisation=scope.organisation,
        user=scope.user,
        key=key,
        defaults={"fingerprint": fingerprint},
    )
    if not created and row.fingerprint != fingerprint:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was sent before with other content. Use a new key.",
        )
    return Claim(row, None if created else row.run)
