"""A stack as a whole: order, health, death, restart, failure, stop."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from devenv.stack.errors import ServiceFailed
from devenv.stack.keeper import Keeper
from devenv.stack.probe import CommandProbe
from devenv.stack.service import Once, Restart, Service
from devenv.stack.states import State
from devenv.stack.supervisor import Supervisor

FAST = Restart(first=0.01, ceiling=0.02)


def service(name: str, script: str = "exec sleep 60", *needs: str) -> Service:
    environ = dict(os.environ)  # noqa: TID251 - the child needs a PATH
    return Service(
        name=name,
        command=("sh", "-c", script),
        environ=lambda: environ,
        needs=needs,
        restart=FAST,
    )


@dataclass
class Diary:
    """A watcher that remembers."""

    changes: list[tuple[str, State, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, keeper: Keeper) -> None:
        self.news.set()
        self.changes.append((keeper.service.name, keeper.state, keeper.note))

    def line(self, service: str, text: str) -> None:
        self.lines.append(f"{service}: {text}")

    def order(self, state: State) -> list[str]:
        return [name for name, changed, _ in self.changes if changed is state]

    async def until(self, name: str, state: State, *, times: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.order(state).count(name) < times:
                self.news.clear()
                await self.news.wait()


async def _nothing(supervisor: Supervisor, diary: Diary) -> None:
    pass


def play(
    tmp_path: Path,
    *services: Service,
    then: Callable[[Supervisor, Diary], Awaitable[None]] = _nothing,
) -> Diary:
    diary = Diary()

    async def main() -> None:
        supervisor = Supervisor(services, folder=tmp_path, watcher=diary)
        try:
            await supervisor.up()
            await then(supervisor, diary)
        finally:
            await supervisor.down()

    asyncio.run(main())
    return diary


def test_services_start_after_what_they_need_and_stop_before_it(tmp_path: Path) -> None:
    diary = play(tmp_path, service("web", "exec sleep 60", "db"), service("db"))

    assert diary.order(State.HEALTHY) == ["db", "web"]
    assert diary.order(State.STOPPED) == ["web", "db"]


def test_what_is_killed_is_started_again_and_dependents_keep_running(tmp_path: Path) -> None:
    async def kill(supervisor: Supervisor, diary: Diary) -> None:
        os.kill(supervisor.keepers["db"].pid or 0, signal.SIGKILL)
        await diary.until("db", State.HEALTHY, times=2)

    diary = play(tmp_path, service("db"), service("web", "exec sleep 60", "db"), then=kill)

    assert ("db", State.RESTARTING, "was killed by SIGKILL") in diary.changes
    assert diary.order(State.STARTING).count("web") == 1


def test_a_service_that_never_becomes_healthy_is_given_up(tmp_path: Path) -> None:
    broken = replace(service("web", "echo no; exit 3"), probe=CommandProbe(("false",)))

    with pytest.raises(ServiceFailed, match="web exited with 3") as caught:
        play(tmp_path, broken)

    assert caught.value.hint == "make logs S=web"


def test_a_probe_that_never_succeeds_ends_the_start(tmp_path: Path) -> None:
    deaf = replace(service("web"), probe=CommandProbe(("false",)), ready_within=0.1)

    with pytest.raises(ServiceFailed, match="web was not healthy within"):
        play(tmp_path, deaf)


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    missing = replace(
        service("web"), command=("/no/such/program",), restart=Restart(attempts=1, first=0.01)
    )

    with pytest.raises(ServiceFailed, match="web exited with 127"):
        play(tmp_path, missing)


def test_an_environment_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    def environ() -> dict[str, str]:
        raise FileNotFoundError("endpoints.json is not there")

    with pytest.raises(ServiceFailed, match=r"endpoints\.json is not there"):
        play(tmp_path, replace(service("web"), environ=environ))


def test_a_step_runs_once_and_opens_the_way(tmp_path: Path) -> None:
    step = replace(service("setup", "echo ran"), once=Once(tmp_path / "setup.done", lambda: "same"))

    first = play(tmp_path, step, service("web", "exec sleep 60", "setup"))
    second = play(tmp_path, step, service("web", "exec sleep 60", "setup"))

    assert first.lines == ["setup: ran"]
    assert second.lines == []
    assert second.order(State.HEALTHY) == ["web"]


def test_a_step_that_fails_is_not_repeated(tmp_path: Path) -> None:
    step = replace(service("setup", "exit 1"), once=Once(tmp_path / "done", lambda: "same"))

    with pytest.raises(ServiceFailed, match="setup exited with 1"):
        play(tmp_path, step)

    assert not (tmp_path / "done").exists()
