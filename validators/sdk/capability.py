"""Capability of an attempt: a token for the files of its folder, renewed on demand.

Without a capability a validator uses the account that it runs as.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import sleep
from typing import Any

from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from validators.sdk.environment import Environment, Grant
from validators.sdk.storage import BucketAccess
from validators.sdk.worker import NotAccepted, post

_ATTEMPT_ENDED = frozenset({409})  # asking again changes nothing


class Capability:
    """Credentials for Google's client, valid below `prefix` only."""

    def __init__(
        self, grant: Grant, environment: Environment, *, wait: Callable[[float], None] = sleep
    ) -> None:
        self.prefix = grant.prefix
        self._grant = grant
        self._environment = environment
        self._wait = wait
        self._proof: dict[str, str | None] = {}
        # No expiry yet: google-auth renews minutes before it, and the proof is in the envelope,
        # which is still to be read.
        self.credentials = Credentials(  # type: ignore[no-untyped-call]
            token=grant.token, refresh_handler=self._renew
        )
        self.access = BucketAccess(self.credentials, grant.project, grant.prefix)

    def prove(self, envelope: ValidationInputEnvelope) -> None:
        """Keep the proof of the envelope, which a renewal needs; from now on the token expires."""
        self._proof = {
            "run_id": envelope.run_id,
            "callback_id": envelope.context.callback_id,
            "callback_nonce": envelope.context.callback_nonce,
        }
        self.credentials.expiry = _naive_utc(self._grant.expires_at)

    def _renew(self, _request: object, scopes: Sequence[str] | None = None) -> tuple[str, datetime]:
        if not self._proof:
            text = (
                f"The capability expired at {self._grant.expires_at}, before the envelope was read."
            )
            raise RefreshError(text)  # type: ignore[no-untyped-call]
        try:
            answer = post(
                self._proof,
                url=self._grant.refresh_url,
                environment=self._environment,
                final=_ATTEMPT_ENDED,
                wait=self._wait,
            )
            return self._read(answer.json())
        except (NotAccepted, ValueError, KeyError, TypeError) as error:
            text = f"The capability was not renewed: {error}"
            raise RefreshError(text) from error  # type: ignore[no-untyped-call]

    def _read(self, answer: dict[str, Any]) -> tuple[str, datetime]:
        if answer["allowed_prefix"] != self.prefix:
            raise ValueError(f"the worker gave one for {answer['allowed_prefix']!r}")
        return str(answer["access_token"]), _naive_utc(datetime.fromisoformat(answer["expires_at"]))


def _naive_utc(moment: datetime) -> datetime:
    """Return the form that google-auth compares with: UTC without a time zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)
