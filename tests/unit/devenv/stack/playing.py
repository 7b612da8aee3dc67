"""Stacks of shell scripts, played with an observer that remembers what happens."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from devenv.stack.runner import ServiceRunner
from devenv.stack.runner_state import RunnerState
from devenv.stack.service import Restart, StackService
from devenv.stack.supervisor import Supervisor

FAST = Restart(first=0.01, ceiling=0.02)


def service(name: str, script: str = "exec sleep 60", *needs: str) -> StackService:
    environ = dict(os.environ)  # noqa: TID251 - the child needs a PATH
    return StackService(
        name=name,
        command=("sh", "-c", script),
        environ=lambda: environ,
        needs=needs,
        restart=FAST,
        settle=0,
    )


@dataclass
class Diary:
    """An observer that remembers."""

    changes: list[tuple[str, RunnerState, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    reloads: list[tuple[str, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, runner: ServiceRunner) -> None:
        self.news.set()
        self.changes.append((runner.service.name, runner.state, runner.note))

    def reloaded(self, runner: ServiceRunner, seconds: float) -> None:
        self.news.set()
        self.reloads.append((runner.service.name, runner.reload_failure))

    def line(self, service: str, text: str) -> None:
        self.news.set()
        self.lines.append(f"{service}: {text}")

    def order(self, state: RunnerState) -> list[str]:
        return [name for name, changed, _ in self.changes if changed is state]

    async def until_line(self, line: str) -> None:
        async with asyncio.timeout(60):
            while line not in self.lines:
                self.news.clear()
                await self.news.wait()

    async def until_reload(self, name: str, failure: str, *, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self.reloads.count((name, failure)) < times:
                self.news.clear()
                await self.news.wait()

    async def until(self, name: str, state: RunnerState, *, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self.order(state).count(name) < times:
                self.news.clear()
                await self.news.wait()


async def _nothing(supervisor: Supervisor, diary: Diary) -> None:
    pass


def play(
    tmp_path: Path,
    *services: StackService,
    then: Callable[[Supervisor, Diary], Awaitable[None]] = _nothing,
) -> Diary:
    diary = Diary()

    async def main() -> None:
        supervisor = Supervisor(services, folder=tmp_path, observer=diary)
        try:
            await supervisor.up()
            await then(supervisor, diary)
        finally:
            await supervisor.down()

    asyncio.run(main())
    return diary


async def reloading(supervisor: Supervisor) -> asyncio.Task[None]:
    """Return the task that reloads on edits, once it watches."""
    task = asyncio.create_task(supervisor.reload_on_edits())
    for _ in range(5):
        await asyncio.sleep(0)
    return task
