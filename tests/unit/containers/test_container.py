"""Waiting for a container whose engine restarts, hangs or is gone: a stub stands in for Docker's SDK."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from containers import container as module
from containers.client import Client
from containers.container import Container
from containers.errors import EngineUnavailable
from containers.spec import Exit

RUNNING = {"Status": "running", "ExitCode": 0, "OOMKilled": False}
AWAY = requests.ConnectionError("Connection refused")


def ended(code: int = 0, *, out_of_memory: bool = False) -> dict[str, Any]:
    return {"Status": "exited", "ExitCode": code, "OOMKilled": out_of_memory}


class Play:
    """An API that does one thing after the other; a state is what an inspection shows."""

    base_url = "http+docker://localhost"
    api_version = "1.41"

    def __init__(self, *looks: Any, waits: Any = None) -> None:
        self._looks = iter(looks)
        self._waits = iter(waits or ())
        self.stopped: list[int] = []

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"State": self._do(next(self._looks))}

    def wait(self, container: str, timeout: float) -> None:
        self._do(next(self._waits, None))

    def stop(self, container: str, timeout: int) -> None:
        self.stopped.append(timeout)

    def get(self, url: str, **options: Any) -> Any:
        raise AWAY

    @staticmethod
    def _do(what: Any) -> Any:
        if isinstance(what, Exception):
            raise what
        return what


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes when it sleeps, and not otherwise."""
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: 1 + sum(slept))
    monkeypatch.setattr(module, "time", clock)
    return slept


def make(api: Any, *, seen: bool = True) -> Container:
    return Container(Client(lambda: api), id="0", name="c", seen=seen)


def test_an_engine_that_restarts_is_waited_for() -> None:
    play = Play(AWAY, RUNNING, RUNNING, ended(3), waits=[AWAY])

    assert make(play).wait() == Exit(code=3)


@pytest.mark.parametrize("code", [137, 143, 255])
def test_what_went_with_its_engine_is_lost(code: int) -> None:
    told = make(Play(AWAY, ended(code), waits=[AWAY])).wait()

    assert told.lost


@pytest.mark.parametrize(
    ("code", "out_of_memory"), [(0, False), (1, False), (139, False), (137, True)]
)
def test_what_ended_by_itself_while_the_engine_was_away_tells_how(
    code: int, *, out_of_memory: bool
) -> None:
    told = make(Play(ended(code, out_of_memory=out_of_memory), waits=[AWAY])).wait()

    assert not told.lost
    assert told.out_of_memory is out_of_memory


def test_what_was_seen_to_be_killed_is_not_lost() -> None:
    assert make(Play(ended(137))).wait() == Exit(signal=9)


def test_an_engine_that_fails_while_it_stops_is_waited_for() -> None:
    answer = requests.Response()
    answer.status_code = 500
    play = Play(APIError("", answer, "shutting down"), RUNNING, ended(3))

    assert make(play).wait() == Exit(code=3)


def test_an_engine_that_stays_away_is_given_up(pauses: list[float]) -> None:
    always: Callable[[], Any] = lambda: AWAY  # noqa: E731 - an endless script
    play = Play()
    play._looks = play._waits = iter(always, None)

    assert make(play).wait() == Exit(lost=True)
    assert module.OUTAGE <= sum(pauses) < module.OUTAGE + 5


def test_an_engine_that_hangs_is_told_from_a_long_task(pauses: list[float]) -> None:
    slow = requests.ReadTimeout("Read timed out.")
    play = Play(RUNNING, slow, ended(0))
    play.wait = lambda container, timeout: pauses.append(timeout)  # type: ignore[method-assign]

    assert make(play).wait() == Exit()


def test_a_container_that_is_gone_is_lost() -> None:
    assert make(Play(NotFound("no such container"))).wait() == Exit(lost=True)


def test_an_end_that_was_found_is_judged_as_unseen() -> None:
    assert make(Play(ended(143)), seen=False).exit() == Exit(signal=15, lost=True)


def test_an_engine_that_is_away_cannot_end_a_container() -> None:
    with pytest.raises(EngineUnavailable):
        make(Play(AWAY)).terminate(grace=1)


def test_sigterm_and_sigkill_are_left_to_the_engine() -> None:
    play = Play(RUNNING, ended(137))
    container = make(play)

    container.terminate(grace=2.5)

    assert play.stopped == [3]
    assert container.exit() == Exit(signal=9, terminated=True)


def test_a_child_that_was_short_of_memory_is_no_cause_of_being_ended() -> None:
    play = Play(RUNNING, ended(137, out_of_memory=True))
    container = make(play)
    container.terminate(grace=1)

    assert container.exit() == Exit(signal=9, terminated=True, child_out_of_memory=True)


def test_following_ends_when_the_engine_goes() -> None:
    lines: list[str] = []

    make(Play()).follow(lines.append, max_bytes=100)

    assert lines == []


def test_what_is_gone_already_needs_no_removal() -> None:
    def refuse(container: str, **options: Any) -> None:
        raise APIError("removal is already in progress")

    make(SimpleNamespace(remove_container=refuse)).remove()
