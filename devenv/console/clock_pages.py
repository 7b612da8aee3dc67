"""The page of the clock of the emulated cloud: its time, and forms that turn it."""

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import CloudClient
from devenv.console.shell import Shell

_STEPS = {"10m": "10 minutes", "1h": "1 hour", "1d": "1 day", "30d": "30 days"}


class ClockPages:
    """Routes of the clock."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        return [
            Route("/clock", self.clock),
            Route("/clock/advance", act(self.advance), methods=post),
            Route("/clock/set", act(self.set), methods=post),
            Route("/clock/reset", act(self.reset), methods=post),
        ]

    def clock(self, request: Request) -> Response:
        state = self._cloud.control("clock")
        return self._shell.page(
            request,
            "clock.html",
            place="clock",
            time=_short(state["time"]),
            clock=state,
            steps=_STEPS,
        )

    def advance(self, _request: Request, form: FormData) -> str:
        return self._turn({"advance": str(form.get("by", "")).strip()})

    def set(self, _request: Request, form: FormData) -> str:
        return self._turn({"set": str(form.get("to", "")).strip()})

    def reset(self, _request: Request, _form: FormData) -> str:
        self._cloud.control("clock", verb="DELETE")
        return "The emulated cloud has the time of this machine again."

    def _turn(self, turn: dict[str, str]) -> str:
        state = self._cloud.control("clock", verb="POST", body=turn)
        return f"It is {_short(state['time'])} in the emulated cloud now."


def _short(time: str) -> str:
    """Return an RFC 3339 time in UTC for people: `2027-01-31 12:00:00 UTC`."""
    return f"{time.partition('.')[0].replace('T', ' ')} UTC"
