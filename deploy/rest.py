"""APIs of Google that have no light client of their own, by REST."""

from typing import Any

import google.auth
import requests
from google.api_core.exceptions import ServiceUnavailable, from_http_response
from google.auth.transport.requests import AuthorizedSession

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 60.0


class RestClient:
    """Calls with the default credentials, JSON both ways."""

    def __init__(self) -> None:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        self._session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    def call(self, verb: str, url: str, body: Any = None, **parameters: str) -> Any:
        """Return the answer. Raises GoogleAPICallError, or GoogleAuthError without credentials."""
        try:
            answer = self._session.request(
                verb, url, json=body, params=parameters, timeout=_SECONDS
            )
        except requests.RequestException as error:
            raise ServiceUnavailable(f"{url}: {error}") from error  # type: ignore[no-untyped-call]
        if not answer.ok:
            raise from_http_response(answer)  # type: ignore[no-untyped-call]
        return answer.json()
