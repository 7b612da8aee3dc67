"""The life of one service: wait for its needs, start, become healthy, restart, reload, stop.

A runner is one asyncio task. It owns the process that serves, at most one successor that a reload
is starting, and predecessors that finish their last requests. State changes go through `_become`,
which checks them against TRANSITIONS and tells the observer.
"""

import asyncio
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from devenv.stack import ports
from devenv.stack.problems import StackError, last_error, syntax_error
from devenv.stack.process import Process, describe_exit
from devenv.stack.runner_state import TRANSITIONS, RunnerState
from devenv.stack.service import LogProbe, Reload, StackService

_FIRST_PAUSE, _LONGEST_PAUSE = 0.03, 0.1
_ENDED = (RunnerState.STOPPING, RunnerState.STOPPED)


class StackObserver(Protocol):
    """Receiver of what happens in a stack."""

    def changed(self, runner: "ServiceRunner") -> None:
        """Record that `runner.state` is new."""
        ...

    def reloaded(self, runner: "ServiceRunner", seconds: float) -> None:
        """Record that new code serves (or a step ran again), or not: `runner.reload_failure`."""
        ...

    def line(self, service: str, text: str) -> None:
        """Record a line that the service wrote."""
        ...


class ServiceRunner:
    """Runner of one service, which keeps it alive until `stop`."""

    def __init__(
        self, service: StackService, *, needs: Sequence["ServiceRunner"], folder: Path
    ) -> None:
        self.service = service
        self.state = RunnerState.WAITING
        self.note = ""
        self.restarts = 0
        self.ready = asyncio.Event()
        self.failed = asyncio.Event()
        self._needs = needs
        self._folder = folder
        self._observer: StackObserver
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._successor: Process | None = None
        self._unstartable = False  # the last start found no such program
        self._replaced = asyncio.Event()
        self._edited = asyncio.Event()  # the code changed: no pause before the next start
        self._broken: set[str] = set()  # edited files that Python cannot parse
        self.reload_failure = ""  # why the process that serves has older code than the disk
        self._draining: dict[asyncio.Task[None], Process] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, observer: StackObserver) -> None:
        self._observer = observer
        if self.state in (RunnerState.STOPPED, RunnerState.FAILED):
            self.reload_failure = ""
            self.ready.clear()
            self.failed.clear()
            self._replaced.clear()
            self._become(RunnerState.WAITING)
        self._task = asyncio.create_task(self._run(), name=self.service.name)
        self._task.add_done_callback(self._report_crash)

    async def stop(self) -> None:
        """Stop the service and everything that reloads have left."""
        if self._task is None or self.state is RunnerState.STOPPED:
            return
        self._become(RunnerState.STOPPING)
        self.ready.clear()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        number, within = self.service.stop_signal, self.service.stop_within
        for task in self._draining:
            task.cancel()
        ours = [process for process in (self._process, self._successor) if process]
        await asyncio.gather(*(one.stop(number, within=within) for one in ours), *self._draining)
        self._process = self._successor = None
        self._become(RunnerState.STOPPED)

    def kill(self) -> None:
        for process in (self._process, self._successor, *self._draining.values()):
            if process:
                process.signal(signal.SIGKILL)

    async def reload(self, edited: Iterable[str] = ()) -> None:
        """Put the code that is on disk now into service, by the way that the service declares.

        While one of the `edited` files cannot be parsed, the old code stays: a module that only
        requests import would break after the reload.
        """
        reload = self.service.reload
        assert reload
        if self.state is not RunnerState.FAILED:
            await self.ready.wait()  # a first start may have read the old code
        if problem := self._syntax_problem(edited):
            self._observer.line(self.service.name, problem)
            self.refuse_reload(problem)
        elif self.service.once:
            await self.run_again()
        else:
            await self._reload_server(reload)

    async def _reload_server(self, reload: Reload) -> None:
        if self.state is RunnerState.FAILED:
            self._start_again()
        elif reload.signal:
            if self._process:
                self._process.signal(reload.signal, descendants=False)
        elif self.state is RunnerState.HEALTHY and reload.port and ports.can_tell_listeners():
            await self._hand_over(reload.port, drain_within=reload.drain_within)
        elif self.state in (RunnerState.HEALTHY, RunnerState.STARTING, RunnerState.RESTARTING):
            self._edited.set()
            if self._process:
                self._drain(self._process, within=reload.drain_within)

    def _start_again(self) -> None:
        """Give a service that was given up another chance, as its code is new."""
        if self._task and self._task.done() and not self._process:
            self.start(self._observer)

    def refuse_reload(self, problem: str) -> None:
        """Record why the process that serves has older code than the disk."""
        self.reload_failure = problem
        self._observer.reloaded(self, 0)

    def _syntax_problem(self, edited: Iterable[str]) -> str:
        """Return the first syntax error in files edited now or before, "" if there is none."""
        if self.service.command[0] != sys.executable:  # other Pythons may have another syntax
            return ""
        found = {path: syntax_error(self._folder, path) for path in {*edited, *self._broken}}
        self._broken = {path for path, problem in found.items() if problem}
        return next((found[path] for path in sorted(self._broken)), "")

    async def run_again(self, *, always: bool = False) -> None:
        """Run a step once more if what it depends on has changed, or `always`."""
        once = self.service.once
        assert once
        if always:
            once.stamp.unlink(missing_ok=True)
        elif once.is_done():
            self.reload_failure = ""
            return
        began = asyncio.get_running_loop().time()
        try:
            await self._run_step()
        except (OSError, StackError) as error:  # its environment could not be told
            self.refuse_reload(str(error))
            return
        failed = self.state is RunnerState.FAILED
        self.reload_failure = self.note if failed else ""
        self._observer.reloaded(self, asyncio.get_running_loop().time() - began)

    async def _hand_over(self, port: int, *, drain_within: float) -> None:
        """Start a second process on the same port; once it serves, let the first one finish."""
        began = asyncio.get_running_loop().time()
        try:
            self._successor = successor = await self._spawn(self.service.environ())
        except (OSError, StackError) as error:
            self.refuse_reload(f"it could not be started: {error}")
            return
        failure = await self._until_it_serves(successor, port)
        seconds = asyncio.get_running_loop().time() - began
        if self.state in _ENDED:  # somebody stopped the service, and with it the successor
            return
        if failure:
            await successor.stop(signal.SIGKILL, within=1)
        elif self._process and self.state is RunnerState.HEALTHY:
            self._drain(self._process, within=drain_within)
            self._process = successor
            self._replaced.set()
        else:  # the first one has died meanwhile; its restart has read the new code, too
            await successor.stop(self.service.stop_signal, within=self.service.stop_within)
        self._successor = None
        self.reload_failure = failure
        self._observer.reloaded(self, seconds)

    async def _until_it_serves(self, successor: Process, port: int) -> str:
        """Return "" once the successor itself listens and is healthy, else why it never will."""
        ended = asyncio.ensure_future(successor.wait())
        healthy = asyncio.create_task(self._until_healthy(listener=(port, successor.pid)))
        try:
            await asyncio.wait(
                {ended, healthy},
                timeout=self.service.ready_within,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            healthy.cancel()
        if ended.done():
            return self._reason(successor, ended.result())
        ended.cancel()
        if healthy.done() and not healthy.cancelled():
            return ""
        return f"the new code was not healthy within {self.service.ready_within:g} s"

    def _reason(self, process: Process, code: int) -> str:
        """Return why a process ended: the error of its last traceback, else its exit code."""
        error = last_error(process.last_lines, folder=self._folder) if code > 0 else ""
        return error or describe_exit(code)

    def _drain(self, process: Process, *, within: float) -> None:
        """Stop a process in the background: it finishes the requests that it has."""

        async def drain() -> None:
            try:
                await process.stop(self.service.stop_signal, within=within)
            except asyncio.CancelledError:  # the whole stack stops
                await process.stop(signal.SIGKILL, within=1)

        task = asyncio.create_task(drain())
        self._draining[task] = process
        task.add_done_callback(lambda done: self._draining.pop(done, None))

    def _report_crash(self, task: asyncio.Task[None]) -> None:
        """Report a service that could not even be started, for example without an environment."""
        if not task.cancelled() and (error := task.exception()):
            self._become(RunnerState.FAILED, str(error) or type(error).__name__)

    async def _run(self) -> None:
        for need in self._needs:
            await need.ready.wait()
        if self.service.once:
            await self._run_step()
        else:
            await self._run_server()

    async def _run_step(self) -> None:
        once = self.service.once
        assert once
        if once.is_done():
            self._become(RunnerState.DONE, "nothing new")
            return
        code, reason = await self._live()
        if code == 0:
            once.mark_done()
            self._become(RunnerState.DONE)
        else:
            self._become(RunnerState.FAILED, reason)

    async def _run_server(self) -> None:
        restart = self.service.restart
        clock = asyncio.get_running_loop().time
        ends, was_calm = 0, False
        while True:
            began = clock()
            _, reason = await self._live()
            is_calm = clock() - began > restart.calm
            was_calm = was_calm or is_calm
            edited = self._edited.is_set()
            ends = 0 if edited else 1 if is_calm else ends + 1
            reason = self.note or reason
            works = self.ready.is_set() if self.service.probe else was_calm
            if not works and (ends >= restart.attempts or self._unstartable):
                self._become(RunnerState.FAILED, reason)
                return
            self.restarts += 1
            self._become(RunnerState.RESTARTING, "code changed" if edited else reason)
            if await self._pause(0 if edited else restart.delay(ends)):
                ends = 0

    async def _pause(self, seconds: float) -> bool:
        """Wait before the next start until the next edit at most; return whether there was one."""
        try:
            async with asyncio.timeout(seconds):
                return await self._edited.wait()
        except TimeoutError:
            return False
        finally:
            self._edited.clear()

    async def _live(self) -> tuple[int, str]:
        """Run the command once, reloads included; return the last exit code and the reason."""
        environ = self.service.environ()
        try:
            self._process = await self._spawn(environ)
        except OSError as error:
            self._become(RunnerState.STARTING)
            problem = f"{self.service.command[0]}: {error.strerror}"
            self._observer.line(self.service.name, problem)
            self._unstartable = True
            return 127, f"cannot start {problem}"
        self._unstartable = False
        self._become(RunnerState.STARTING)
        watching = asyncio.create_task(self._report_health(self._process))
        try:
            return await self._last_exit()
        finally:
            watching.cancel()

    async def _last_exit(self) -> tuple[int, str]:
        """Wait for the process that serves, whichever a reload has made that."""
        replaced = asyncio.create_task(self._replaced.wait())
        try:
            while process := self._process:
                ended = asyncio.ensure_future(process.wait())
                await asyncio.wait({ended, replaced}, return_when=asyncio.FIRST_COMPLETED)
                if self._process is process:
                    self._process = None
                    return (code := await ended), self._reason(process, code)
                self._replaced.clear()
                replaced = asyncio.create_task(self._replaced.wait())
        finally:
            replaced.cancel()
        raise AssertionError("A reload left no process.")

    async def _spawn(self, environ: Mapping[str, str]) -> Process:
        if isinstance(self.service.probe, LogProbe):
            self.service.probe.forget()
        return await Process.start(
            self.service.command,
            environ=environ,
            folder=self._folder / self.service.folder,
            stop_signal=self.service.stop_signal,
            write=self._record_line,
        )

    def _record_line(self, text: str) -> None:
        if isinstance(self.service.probe, LogProbe):
            self.service.probe.read(text)
        self._observer.line(self.service.name, text)

    async def _report_health(self, process: Process) -> None:
        if self.service.once:
            return
        try:
            async with asyncio.timeout(self.service.ready_within):
                await self._until_healthy()
                if self.service.probe is None:
                    await asyncio.sleep(self.service.settle)
        except TimeoutError:
            self.note = f"was not healthy within {self.service.ready_within:g} s"
            process.signal(signal.SIGKILL)
        else:
            self._become(RunnerState.HEALTHY)

    async def _until_healthy(self, *, listener: tuple[int, int] | None = None) -> None:
        """Return once the probe succeeds; with `listener`, once that process listens there, too."""
        environ = self.service.environ()
        pause = _FIRST_PAUSE
        while True:
            listens = listener is None or await asyncio.to_thread(ports.is_listener, *listener)
            probe = self.service.probe
            if listens and (probe is None or await probe.is_healthy(environ)):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_PAUSE)

    def _become(self, state: RunnerState, note: str = "") -> None:
        assert state in TRANSITIONS[self.state], f"{self.service.name}: {self.state} → {state}"
        self.state, self.note = state, note
        if state in (RunnerState.HEALTHY, RunnerState.DONE):
            self.ready.set()
        elif state is RunnerState.FAILED:
            self.failed.set()
        elif state is RunnerState.STARTING:
            self.failed.clear()
        self._observer.changed(self)
