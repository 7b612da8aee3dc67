"""The right to the files of one attempt, given by the platform for a while and renewed on demand.

Without it a validator uses the account that it runs as.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import requests
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from validators.sdk.callback import authorization
from validators.sdk.environment import Environment, Grant

_TIMEOUT = 30.0


class Capability:
    """Credentials for Google's client; `prefix` is where they hold."""

    def __init__(self, grant: Grant, environment: Environment) -> None:
        self.prefix = grant.prefix
        self.project = grant.project
        self._url = grant.refresh_url
        self._environment = environment
        self._proof: dict[str, str | None] = {}
        self.credentials = Credentials(  # type: ignore[no-untyped-call]
            token=grant.token,
            expiry=_as_google_has_it(grant.expires_at),
            refresh_handler=self._renew,
        )

    def prove(self, envelope: ValidationInputEnvelope) -> None:
        """Take from the envelope what proves, when the time comes, whose right this is."""
        self._proof = {
            "run_id": envelope.run_id,
            "callback_id": envelope.context.callback_id,
            "callback_nonce": envelope.context.callback_nonce,
        }

    def _renew(self, _request: object, scopes: Sequence[str] | None = None) -> tuple[str, datetime]:
        with requests.Session() as session:
            headers = dict(authorization(session, url=self._url, environment=self._environment))
            try:
                answer = session.post(
                    self._url,
                    json=self._proof,
                    headers=headers,
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                )
                answer.raise_for_status()
                return self._read(answer.json())
            except (requests.RequestException, ValueError, KeyError, TypeError) as error:
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
