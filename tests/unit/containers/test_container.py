"""Containers of an engine that restarts, hangs or is gone, with a stub of Docker's SDK."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from containers import container as module
from containers.client import Client
from containers.container import Container
from containers.spec import ContainerExit, EngineUnavailable

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


def test_wait_survives_engine_restart() -> None:
    play = Play(AWAY, RUNNING, RUNNING, ended(3), waits=[AWAY])

    assert make(play).wait() == ContainerExit(code=3)


@pytest.mark.parametrize("code", [137, 143, 255])
def test_exit_by_engine_restart_is_lost(code: int) -> None:
    told = make(Play(AWAY, ended(code), waits=[AWAY])).wait()

    assert told.lost


@pytest.mark.parametrize(
    ("code", "out_of_memory"), [(0, False), (1, False), (139, False), (137, True)]
)
def test_own_exit_during_outage_keeps_its_code(code: int, *, out_of_memory: bool) -> None:
    told = make(Play(ended(code, out_of_memory=out_of_memory), waits=[AWAY])).wait()

    assert not told.lost
    assert told.out_of_memory is out_of_memory


def test_observed_kill_is_not_lost() -> None:
    assert make(Play(ended(137))).wait() == ContainerExit(signal=9)


def test_wait_survives_errors_of_stopping_engine() -> None:
    answer = requests.Response()
    answer.status_code = 500
    play = Play(APIError("", answer, "shutting down"), RUNNING, ended(3))

    assert make(play).wait() == ContainerExit(code=3)


def test_long_outage_ends_wait_as_lost(pauses: list[float]) -> None:
    always: Callable[[], Any] = lambda: AWAY  # noqa: E731 - an endless script
    play = Play()
    play._looks = play._waits = iter(always, None)

    assert make(play).wait() == ContainerExit(lost=True)
    assert module.OUTAGE <= sum(pauses) < module.OUTAGE + 5


def test_hanging_engine_is_distinguished_from_long_task(pauses: list[float]) -> None:
    slow = requests.ReadTimeout("Read timed out.")
    play = Play(RUNNING, slow, ended(0))
    play.wait = lambda container, timeout: pauses.append(timeout)  # type: ignore[method-assign]

    assert make(play).wait() == ContainerExit()


def test_missing_container_is_lost() -> None:
    assert make(Play(NotFound("no such container"))).wait() == ContainerExit(lost=True)


def test_unobserved_sigterm_is_lost() -> None:
    assert make(Play(ended(143)), seen=False).exit() == ContainerExit(signal=15, lost=True)


def test_terminate_without_engine_raises() -> None:
    with pytest.raises(EngineUnavailable):
        make(Play(AWAY)).terminate(grace=1)


def test_terminate_is_one_call_to_engine() -> None:
    play = Play(RUNNING, ended(137))
    container = make(play)

    container.terminate(grace=2.5)

    assert play.stopped == [3]
    assert container.exit() == ContainerExit(signal=9, terminated=True)


def test_child_out_of_memory_does_not_hide_termination() -> None:
    play = Play(RUNNING, ended(137, out_of_memory=True))
    container = make(play)
    container.terminate(grace=1)

    assert container.exit() == ContainerExit(signal=9, terminated=True, child_out_of_memory=True)


def test_follow_ends_when_engine_goes() -> None:
    lines: list[str] = []

    make(Play()).follow(lines.append, max_bytes=100)

    assert lines == []


def test_remove_of_missing_container_succeeds() -> None:
    def refuse(container: str, **options: Any) -> None:
        raise APIError("removal is already in progress")

    make(SimpleNamespace(remove_container=refuse)).remove()
