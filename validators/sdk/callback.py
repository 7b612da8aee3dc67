"""Tell the worker that an output is stored, as often as it takes within half a minute."""

import logging
from collections.abc import Callable, Iterator
from time import sleep
from urllib.parse import urlsplit

import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2.id_token import fetch_id_token
from validibot_shared.validations.envelopes import ValidationCallback

from validators.sdk.environment import Environment

log = logging.getLogger(__name__)

_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_TIMEOUT = 30.0
_WORTH_REPEATING = {401, 408, 409, 425, 429}


class CallbackUndelivered(Exception):
    """The worker did not accept the callback; the stored output still counts."""


def deliver(
    callback: ValidationCallback,
    *,
    url: str,
    environment: Environment,
    wait: Callable[[float], None] = sleep,
) -> None:
    with requests.Session() as session:
        for delay in (*_DELAYS, None):
            problem, permanent = _attempt(session, callback, url=url, environment=environment)
            if problem is None:
                return
            log.warning("callback to %s: %s", url, problem)
            if permanent or delay is None:
                raise CallbackUndelivered(f"{url}: {problem}")
            wait(delay)


def _attempt(
    session: requests.Session, callback: ValidationCallback, *, url: str, environment: Environment
) -> tuple[str | None, bool]:
    """What went wrong, and whether trying again is pointless."""
    try:
        response = session.post(
            url,
            json=callback.model_dump(mode="json"),
            headers=dict(authorization(session, url=url, environment=environment)),
            timeout=_TIMEOUT,
            allow_redirects=False,
        )
    except (requests.RequestException, GoogleAuthError) as error:
        return f"{type(error).__name__}: {error}", False
    if response.status_code < 300:
        return None, False
    permanent = response.status_code < 500 and response.status_code not in _WORTH_REPEATING
    return f"answered {response.status_code}: {response.text[:500]}", permanent


def authorization(
    session: requests.Session, *, url: str, environment: Environment
) -> Iterator[tuple[str, str]]:
    if environment.deployment_target == "gcp":
        audience = environment.token_audience or origin(url)
        token: str = fetch_id_token(AuthRequest(session), audience)  # type: ignore[no-untyped-call]
        yield "Authorization", f"Bearer {token}"
    elif environment.worker_api_key:
        yield "Authorization", f"Worker-Key {environment.worker_api_key}"


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
