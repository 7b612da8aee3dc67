"""A set of services: started in order, kept alive, reloaded after edits, stopped in reverse.

One watcher looks for edits in the whole stack: the kernel is asked once, and an edit that concerns
several services reloads them in the same moment.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from devenv.stack.edits import Edits, edits
from devenv.stack.problems import ServiceFailed, StackError
from devenv.stack.runner import ServiceRunner, StackObserver
from devenv.stack.runner_state import RunnerState
from devenv.stack.service import StackService, start_levels, stop_levels

_NOT_RUNNING = (RunnerState.STOPPED, RunnerState.FAILED)


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
        for runner in self.runners.values():  # a service may be given up while others start
            _raise_failure(runner)

    async def reload_on_edits(self) -> None:
        """Reload services as the files that they watch change. Runs until cancelled.

        Steps that an edit concerns run again before any service reloads; while one fails, the
        services that need it keep their old code, and each edit of theirs tries the step again.
        A service that is still reloading when its files change is reloaded once more afterwards,
        however many edits came meanwhile. One that has failed is started again. Raises OSError
        where files cannot be watched.
        """
        globs = {
            name: service.reload.watch for name, service in self._services.items() if service.reload
        }
        due = {name: asyncio.Event() for name in globs if not self._services[name].once}
        edited = {name: set[str]() for name in due}
        async with asyncio.TaskGroup() as tasks:
            for name, event in due.items():
                tasks.create_task(self._reload_when_due(name, event, edited[name]))
            async for changes in edits(self._folder, globs):
                problems = await self._run_steps_again(changes)
                for name in changes.keys() & due.keys():
                    if self.runners[name].state is RunnerState.STOPPED:
                        continue  # its next start reads the new code
                    if problem := self._problem_of_needs(name, problems):
                        self.runners[name].refuse_reload(problem)
                    else:
                        edited[name].update(changes[name])
                        due[name].set()

    async def _run_steps_again(self, changes: Edits) -> dict[str, str]:
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

    async def start(self, name: str) -> None:
        """Start a service that was stopped or failed; return when it is healthy. Raises StackError."""
        runner = self._server(name)
        if runner.state not in _NOT_RUNNING:
            raise StackError(f"{name} is {runner.state} already.", hint=f"devenv restart {name}")
        for need in self._services[name].needs:
            if (state := self.runners[need].state) in _NOT_RUNNING:
                raise StackError(f"{name} needs {need}, which {_is(state)}.", hint=_start(need))
        await runner.stop()  # what a failure has left
        runner.start(self._observer)
        await _ready(runner)

    async def stop(self, name: str) -> None:
        """Stop one service; what needs it goes on without it. Raises StackError."""
        runner = self._server(name)
        if runner.state is RunnerState.STOPPED:
            raise StackError(f"{name} is stopped already.", hint=_start(name))
        await runner.stop()

    async def restart(self, name: str) -> None:
        """Stop and start a service, or run a step again. Raises StackError."""
        if self._runner(name).service.once:
            await self._repeat(self._runner(name))
            return
        await self._server(name).stop()
        await self.start(name)

    async def _repeat(self, step: ServiceRunner) -> None:
        if step.state not in (RunnerState.DONE, RunnerState.FAILED):
            raise StackError(f"{step.service.name} is {step.state}; it cannot run again now.")
        await step.run_again(always=True)
        if step.state is RunnerState.FAILED:
            raise ServiceFailed(step.service.name, step.note)

    def _runner(self, name: str) -> ServiceRunner:
        if name not in self.runners:
            known = ", ".join(self.runners)
            raise StackError(f"There is no service {name}; there are {known}.", hint="make status")
        return self.runners[name]

    def _server(self, name: str) -> ServiceRunner:
        runner = self._runner(name)
        if runner.service.once:
            raise StackError(
                f"{name} is a step that ends; it can only run again.", hint=f"devenv restart {name}"
            )
        return runner

    async def down(self) -> None:
        """Stop everything: a service after those that need it."""
        for level in stop_levels(self._services.values()):
            await asyncio.gather(*(self.runners[name].stop() for name in level))

    def kill(self) -> None:
        """Kill everything at once."""
        for runner in self.runners.values():
            runner.kill()


def _start(name: str) -> str:
    return f"devenv start {name}"


def _is(state: RunnerState) -> str:
    return "has failed" if state is RunnerState.FAILED else "is stopped"


async def _ready(runner: ServiceRunner) -> None:
    ready = asyncio.create_task(runner.ready.wait())
    failed = asyncio.create_task(runner.failed.wait())
    try:
        await asyncio.wait({ready, failed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
        failed.cancel()
    _raise_failure(runner)


def _raise_failure(runner: ServiceRunner) -> None:
    if runner.failed.is_set():
        raise ServiceFailed(runner.service.name, runner.note)
