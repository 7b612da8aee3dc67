"""Requests to servers on this machine, past every proxy, also as an account of the emulated cloud."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from devenv.local_stack import LocalStack
from devenv.stack.problems import StackError

_TIMEOUT = 30.0
_LARGEST = 8 * 1024 * 1024
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class LocalReply:
    """Answer of a server, whatever its status."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON, None if it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def ask(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    verb: str | None = None,
) -> LocalReply:
    """GET, or POST if there is a body, or `verb`. Raises StackError if the server does not answer."""
    request = urllib.request.Request(  # noqa: S310
        url, data=body, headers=dict(headers or {}), method=verb
    )
    try:
        with _DIRECT.open(request, timeout=_TIMEOUT) as answer:
            return LocalReply(answer.status, answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            return LocalReply(error.code, error.read(_LARGEST))
    except OSError as error:
        raise StackError(f"{url} does not answer: {error}.", hint="make status") from error


@dataclass(frozen=True, slots=True)
class EmulatedAccount:
    """A service account of the running stack; `name` is its short name."""

    stack: LocalStack
    name: str

    def id_token(self, audience: str) -> str:
        query = urlencode({"audience": audience, "format": "full"})
        return self._metadata(f"identity?{query}").text

    def get(self, host: str, path: str, **query: str) -> Any:
        """Return the JSON of a Google API. Raises StackError."""
        token = (self._metadata("token").json() or {}).get("access_token", "")
        url = f"http://127.0.0.1:{self.stack.ports['gcp']}{path}"
        headers = {"Host": host, "Authorization": f"Bearer {token}"}
        answer = ask(f"{url}?{urlencode(query)}" if query else url, headers=headers)
        if answer.status != 200:
            raise StackError(f"{host}{path} answers {answer.status}: {answer.text[:300]}")
        return answer.json()

    def _metadata(self, path: str) -> LocalReply:
        host = self.stack.identity(self.name)["GCE_METADATA_HOST"]
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/{path}"
        return ask(url, headers={"Metadata-Flavor": "Google"})
