"""A set of services: started in order, kept alive, reloaded after edits, stopped in reverse."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from devenv.stack import watch
from devenv.stack.problems import ServiceFailed
from devenv.stack.runner import ServiceRunner, StackObserver
from devenv.stack.service import StackService, start_levels, stop_levels


class Supervisor:
    """One stack inside one event loop. `runners` are in the order of their start."""

    def __init__(
        self, services: Iterable[StackService], *, folder: Path, observer: StackObserver
    ) -> None:
        self._services = {service.name: service for service in services}
        self._folder = folder
        self._observer = observer
        self.runners: dict[str, ServiceRunner] = {}
        for level in start_levels(self._services.values()):
            for name in level:
                service = self._services[name]
                needs = [self.runners[need] for need in service.needs]
                self.runners[name] = ServiceRunner(service, needs=needs, folder=folder)

    async def up(self) -> None:
        """Start everything; return when all is healthy or done. Raises ServiceFailed."""
        for runner in self.runners.values():
            runner.start(self._observer)
        waiting = [asyncio.create_task(_ready(runner)) for runner in self.runners.values()]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()

    async def reload_on_edits(self) -> None:
        """Reload services as the files that they watch change. Runs until cancelled.

        Steps that an edit concerns run again before any service reloads; while one fails, the
        services that need it keep their old code, and each edit of theirs tries the step again.
        A service that is still reloading when its files change is reloaded once more afterwards,
        however many edits came meanwhile. Raises OSError where files cannot be watched.
        """
        globs = {
            name: service.reload.watch for name, service in self._services.items() if service.reload
        }
        due = {name: asyncio.Event() for name in globs if not self._services[name].once}
        edited = {name: set[str]() for name in due}
        async with asyncio.TaskGroup() as tasks:
            for name, event in due.items():
                tasks.create_task(self._reload_when_due(name, event, edited[name]))
            async for changes in watch.edits(self._folder, globs):
                problems = await self._run_steps_again(changes)
                for name in changes.keys() & due.keys():
                    if problem := self._problem_of_needs(name, problems):
                        self.runners[name].refuse_reload(problem)
                    else:
                        edited[name].update(changes[name])
                        due[name].set()

    async def _run_steps_again(self, changes: watch.Edits) -> dict[str, str]:
        """Run the steps that an edit concerns, and failed ones; return why steps fail."""
        needed = {need for name in changes for need in self._needs(name)}
        for name, runner in self.runners.items():
            if runner.service.once and (
                name in changes or (name in needed and runner.reload_failure)
            ):
                await runner.reload(changes.get(name, ()))
        return {
            name: f"{name}: {runner.reload_failure}"
            for name, runner in self.runners.items()
            if runner.service.once and runner.reload_failure
        }

    def _problem_of_needs(self, name: str, problems: Mapping[str, str]) -> str:
        return next((problems[need] for need in self._needs(name) if need in problems), "")

    def _needs(self, name: str) -> set[str]:
        """Return everything that a service needs, directly or not."""
        found, left = set[str](), [name]
        while left:
            new = set(self._services[left.pop()].needs) - found
            found |= new
            left += new
        return found

    async def _reload_when_due(self, name: str, due: asyncio.Event, edited: set[str]) -> None:
        while True:
            await due.wait()
            due.clear()
            paths = sorted(edited)
            edited.clear()
            await self.runners[name].reload(paths)

    async def down(self) -> None:
        """Stop everything: a service after those that need it."""
        for level in stop_levels(self._services.values()):
            await asyncio.gather(*(self.runners[name].stop() for name in level))

    def kill(self) -> None:
        """Kill everything at once."""
        for runner in self.runners.values():
            runner.kill()


async def _ready(runner: ServiceRunner) -> None:
    ready = asyncio.create_task(runner.ready.wait())
    failed = asyncio.create_task(runner.failed.wait())
    try:
        await asyncio.wait({ready, failed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
        failed.cancel()
    if runner.failed.is_set():
        raise ServiceFailed(runner.service.name, runner.note)
