"""The death of the process in the middle of a command of `deploy`."""

from typing import Any

import pytest
from google.api_core.gapic_v1 import method

MANY = 100_000  # calls


class Killed(BaseException):
    """The process was killed."""


class Killer:
    """Kills the process in Google's clients: after `left` calls, or after the last one in `requests`.

    The cloud has carried out that call.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = MANY
        self.requests: list[str] = []
        call = method._GapicCallable.__call__

        def call_or_die(callable_: Any, *args: Any, **kwargs: Any) -> Any:
            answer = call(callable_, *args, **kwargs)  # type: ignore[no-untyped-call]
            self.left -= 1
            kind = type(args[0]).__name__ if args else ""
            if kind in self.requests:
                self.requests.remove(kind)
                if not self.requests:
                    raise Killed
            if self.left < 0:
                raise Killed
            return answer

        monkeypatch.setattr(method._GapicCallable, "__call__", call_or_die)
