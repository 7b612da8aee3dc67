"""The emulated cloud as the console reaches it: its control API, and Google's APIs as the operator.

The token of the control API is also that of the operator, to whom no policy applies. Calls go to the
plain port; Google's host name stands in the Host header.
"""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import urllib3

from devenv.console.problems import ConsoleProblem

_TIMEOUT = urllib3.Timeout(connect=2, read=30)
_CHUNK = 64 * 1024
RUN, TASKS = "run.googleapis.com", "cloudtasks.googleapis.com"
SECRETS, SCHEDULER = "secretmanager.googleapis.com", "cloudscheduler.googleapis.com"
IAM, STORAGE = "iam.googleapis.com", "storage.googleapis.com"
PUBSUB, LOGGING = "pubsub.googleapis.com", "logging.googleapis.com"


class CloudClient:
    """Client of the emulated cloud at `url`, whose data are in a folder; used by several threads."""

    def __init__(self, url: str, data: Path) -> None:
        self._url = url.rstrip("/")
        self._token_file = data / "control-token"
        self.logs = data / "logs"
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()

    def control(
        self, path: str, *, verb: str = "GET", body: Any = None, **query: Any
    ) -> dict[str, Any]:
        """Return the answer of the control API. Raises ConsoleProblem."""
        return self._json("", verb, f"/_devenv/{path}", body, query)

    def api(
        self, host: str, path: str, *, verb: str = "GET", body: Any = None, **query: Any
    ) -> dict[str, Any]:
        """Return the answer of one of Google's APIs. Raises ConsoleProblem with its message."""
        return self._json(host, verb, path, body, query)

    def now(self) -> float:
        """Return the time of the cloud in Unix seconds. Raises ConsoleProblem."""
        return float(self.control("clock")["now"])

    def location(self) -> str:
        """Return the parent of all regional resources. Raises ConsoleProblem."""
        project = self.control("project")
        return f"projects/{project['project']}/locations/{project['region']}"

    def download(self, path: str, *, most: int = 0) -> Generator[bytes]:
        """Return the bytes of an object, or about its first `most` ones. Raises ConsoleProblem."""
        headers = {"Range": f"bytes=0-{most - 1}"} if most else {}
        target = f"{path}?alt=media"
        answer = self._send(STORAGE, "GET", target, headers=headers, preload=False)
        if answer.status >= 400:
            raise _problem(answer.status, answer.read(_CHUNK))
        return _chunks(answer)

    def upload(self, path: str, content: IO[bytes], content_type: str, **query: str) -> None:
        """Store an object. Raises ConsoleProblem."""
        headers = {"Content-Type": content_type}
        target = f"{path}?{urlencode(query)}"
        answer = self._send(STORAGE, "POST", target, body=content, headers=headers)
        if answer.status >= 400:
            raise _problem(answer.status, answer.data)

    def _json(
        self, host: str, verb: str, path: str, body: Any, query: Mapping[str, Any]
    ) -> dict[str, Any]:
        wanted = urlencode(
            {name: value for name, value in query.items() if value not in ("", None)}
        )
        answer = self._send(
            host,
            verb,
            f"{path}?{wanted}" if wanted else path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if answer.status >= 400:
            raise _problem(answer.status, answer.data)
        found = json.loads(answer.data or b"{}")
        return found if isinstance(found, dict) else {}

    def _send(
        self,
        host: str,
        verb: str,
        target: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        preload: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        try:
            token = self._token_file.read_text()
            return self._pool.request(
                verb,
                self._url + target,
                body=body,
                headers={
                    **({"Host": host} if host else {}),
                    "Authorization": f"Bearer {token}",
                    **(headers or {}),
                },
                preload_content=preload,
            )
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise ConsoleProblem(
                "The emulated cloud does not answer. devenv status tells the state of the service gcp.",
                status=503,
            ) from error


def _chunks(answer: urllib3.BaseHTTPResponse) -> Generator[bytes]:
    try:
        yield from answer.stream(_CHUNK)
    finally:
        answer.close()  # a connection whose answer was read whole is in the pool already


def _problem(status: int, body: bytes) -> ConsoleProblem:
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:300].decode("utf-8", "replace")
    return ConsoleProblem(message or f"The emulated cloud answers {status}.", status=status)
