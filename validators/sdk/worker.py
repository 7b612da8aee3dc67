"""Tell and ask the platform's worker, as often as it takes within half a minute."""

import logging
from collections.abc import Callable, Iterator, Mapping, Set as AbstractSet
from time import sleep
from urllib.parse import urlsplit

import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2.id_token import fetch_id_token

from validators.sdk.environment import Environment

log = logging.getLogger(__name__)

_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_TIMEOUT = 30.0
_WORTH_REPEATING = frozenset({401, 408, 409, 425, 429})


class NotAccepted(Exception):
    """The worker refused, or stayed away."""


def post(
    message: Mapping[str, object],
    *,
    url: str,
    environment: Environment,
    final: AbstractSet[int] = frozenset(),
    wait: Callable[[float], None] = sleep,
) -> requests.Response:
    """Return the acceptance. Raises NotAccepted, at once where the answer is one of `final`."""
    repeatable = _WORTH_REPEATING - final
    with requests.Session() as session:
        for delay in (*_DELAYS, None):
            try:
                response = _post(session, message, url=url, environment=environment)
            except (requests.RequestException, GoogleAuthError) as error:
                problem, permanent = f"{type(error).__name__}: {error}", False
            else:
                if response.status_code < 300:
                    return response
                problem = f"answered {response.status_code}: {response.text[:500]}"
                permanent = response.status_code < 500 and response.status_code not in repeatable
            log.warning("post to %s: %s", url, problem)
            if permanent or delay is None:
                break
            wait(delay)
    raise NotAccepted(f"{url}: {problem}")


def _post(
    session: requests.Session,
    message: Mapping[str, object],
    *,
    url: str,
    environment: Environment,
) -> requests.Response:
    return session.post(
        url,
        json=message,
        headers=dict(_authorization(session, url=url, environment=environment)),
        timeout=_TIMEOUT,
        allow_redirects=False,
    )


def _authorization(
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
