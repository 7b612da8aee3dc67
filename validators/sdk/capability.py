"""The right to the files of one attempt, given by the platform for a while and renewed on demand.

Without it a validator uses the account that it runs as.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import sleep
from typing import Any

from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from validators.sdk.environment import Environment, Grant
from validators.sdk.worker import NotAccepted, post

_OVER = frozenset({409})  # the attempt has ended; asking again changes nothing


class Capability:
    """Credentials for Google's client; `prefix` is where they hold."""

    def __init__(
        self, grant: Grant, environment: Environment, *, wait: Callable[[float], None] = sleep
    ) -> None:
        self.prefix = grant.prefix
        self.project = grant.project
        self._grant = grant
        self._environment = environment
        self._wait = wait
        self._proof: dict[str, str | None] = {}
        # No expiry yet: google-auth renews minutes before it, and the proof is in the envelope,
        # which is still to be read.
        self.credentials = Credentials(  # type: ignore[no-untyped-call]
            token=grant.token, refresh_handler=self._renew
        )

    def prove(self, envelope: ValidationInputEnvelope) -> None:
        """Take from the envelope what proves, when the time comes, whose right this is."""
        self._proof = {
            "run_id": envelope.run_id,
            "callback_id": envelope.context.callback_id,
            "callback_nonce": envelope.context.callback_nonce,
        }
        self.credentials.expiry = _as_google_has_it(self._grant.expires_at)

    def _renew(self, _request: object, scopes: Sequence[str] | None = None) -> tuple[str, datetime]:
        if not self._proof:
            text = f"The right to the attempt's files ended at {self._grant.expires_at}, too early"
            raise RefreshError(text)  # type: ignore[no-untyped-call]
        try:
            answer = post(
                self._proof,
                url=self._grant.refresh_url,
                environment=self._environment,
                final=_OVER,
                wait=self._wait,
            )
            return self._read(answer.json())
        except (NotAccepted, ValueError, KeyError, TypeError) as error:
            text = f"The right to the attempt's files was not renewed: {error}"
            raise RefreshError(text) from error  # type: ignore[no-untyped-call]

    def _read(self, answer: dict[str, Any]) -> tuple[str, datetime]:
        if answer["allowed_prefix"] != self.prefix:
            raise ValueError(f"it is for {answer['allowed_prefix']!r} now")
        return str(answer["access_token"]), _as_google_has_it(
            datetime.fromisoformat(answer["expires_at"])
        )


def _as_google_has_it(moment: datetime) -> datetime:
    """google-auth compares with UTC times that do not say so."""
    return moment.astimezone(UTC).replace(tzinfo=None)
