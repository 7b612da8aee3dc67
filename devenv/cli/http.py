"""Requests to servers on this machine, past every proxy."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devenv.stack.problems import StackError

_PATIENCE = 30.0
_LARGEST = 8 * 1024 * 1024
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return what the body says, None where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def ask(url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Reply:
    """GET, or POST where there is a body. Raises StackError when nobody answers."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310
    try:
        with _DIRECT.open(request, timeout=_PATIENCE) as answer:
            return Reply(answer.status, answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(_LARGEST))
    except OSError as error:
        raise StackError(f"{url} does not answer: {error}.", hint="make status") from error
