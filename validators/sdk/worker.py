"""Calls to the platform's worker: callbacks, and renewals of the attempt's capability.

A call is repeated for about half a minute while the worker is unavailable. A capability is a token
for the files of the attempt's folder; without one a validator uses the account that it runs as.
"""

import logging
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from concurrent.futures import Future
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import requests
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2.credentials import Credentials
from google.oauth2.id_token import fetch_id_token
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from validators.sdk.environment import CapabilityGrant, ValidatorEnvironment
from validators.sdk.storage import BucketAccess

log = logging.getLogger(__name__)

_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_TIMEOUT = 30.0
_GIVE_UP_SECONDS = 45.0  # no repetition starts later: the platform limits the attempt's time
_WORTH_REPEATING = frozenset({401, 408, 409, 425, 429})
_ATTEMPT_ENDED = frozenset({409})  # asking again changes nothing


type Headers = dict[str, str]


class NotAccepted(Exception):
    """The worker refused the call, or did not answer."""


def post(
    message: Mapping[str, object],
    *,
    url: str,
    environment: ValidatorEnvironment,
    final: AbstractSet[int] = frozenset(),
    wait: Callable[[float], None] = sleep,
    early: Future[Headers] | None = None,
) -> requests.Response:
    """Post a message and return the accepting response.

    The first call uses the `early` authorization, if there is one. Raises NotAccepted, without
    repeating the call if the status is one of `final`.
    """
    repeatable = _WORTH_REPEATING - final
    started = monotonic()
    with requests.Session() as session:
        for delay in (*_DELAYS, None):
            try:
                headers = early.result() if early else authorize(session, url, environment)
                if environment.traceparent:
                    headers = {**headers, "traceparent": environment.traceparent}
                response = session.post(
                    url, json=message, headers=headers, timeout=_TIMEOUT, allow_redirects=False
                )
            except (requests.RequestException, GoogleAuthError) as error:
                problem, permanent = f"{type(error).__name__}: {error}", False
            else:
                if response.status_code < 300:
                    return response
                problem = f"answered {response.status_code}: {response.text[:500]}"
                permanent = response.status_code < 500 and response.status_code not in repeatable
            log.warning("post to %s: %s", url, problem)
            early = None
            if permanent or delay is None or monotonic() - started > _GIVE_UP_SECONDS:
                break
            wait(delay)
    raise NotAccepted(f"{url}: {problem}")


def authorize(session: requests.Session, url: str, environment: ValidatorEnvironment) -> Headers:
    """Return the header that proves to the worker who calls. Raises GoogleAuthError.

    A provider outside Google Cloud has no metadata server, so an ID token may be given, too.
    """
    if environment.worker_id_token:
        return {"Authorization": f"Bearer {environment.worker_id_token}"}
    if environment.deployment_target == "gcp":
        audience = environment.token_audience or origin(url)
        token: str = fetch_id_token(AuthRequest(session), audience)  # type: ignore[no-untyped-call]
        return {"Authorization": f"Bearer {token}"}
    if environment.worker_api_key:
        return {"Authorization": f"Worker-Key {environment.worker_api_key}"}
    return {}


def origin(url: str) -> str:
    """Return scheme and host of a URL, the audience of ID tokens for it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Capability:
    """Credentials for Google's client, valid below `prefix` only."""

    def __init__(
        self,
        grant: CapabilityGrant,
        environment: ValidatorEnvironment,
        *,
        wait: Callable[[float], None] = sleep,
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
