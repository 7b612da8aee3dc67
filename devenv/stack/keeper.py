"""The life of one service: wait for its needs, start, watch it become healthy, start it again."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from devenv.stack.process import Process, how_it_ended
from devenv.stack.service import Service
from devenv.stack.states import FOLLOWS, State

_FIRST_LOOK, _SLOWEST_LOOK = 0.03, 0.25


class Watcher(Protocol):
    """Who is told what happens."""

    def changed(self, keeper: "Keeper") -> None:
        """Take note that `keeper.state` is new."""
        ...

    def line(self, service: str, text: str) -> None:
        """Take a line that the service wrote."""
        ...


class Keeper:
    """Keeps one service alive until told to stop."""

    def __init__(self, service: Service, *, needs: Sequence["Keeper"], folder: Path) -> None:
        self.service = service
        self.state = State.WAITING
        self.note = ""
        self.restarts = 0
        self.ready = asyncio.Event()
        self.failed = asyncio.Event()
        self._needs = needs
        self._folder = folder
        self._watcher: Watcher
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._task = asyncio.create_task(self._keep(), name=self.service.name)
        self._task.add_done_callback(self._gave_up)

    async def stop(self) -> None:
        if self._task is None:
            return
        self._become(State.STOPPING)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._process:
            await self._process.stop(self.service.stop_signal, within=self.service.stop_within)
            self._process = None
        self._become(State.STOPPED)

    def kill(self) -> None:
        if self._process:
            self._process.signal(signal.SIGKILL)

    def _gave_up(self, task: asyncio.Task[None]) -> None:
        """Report what could not even be started: its environment, for one, cannot be made."""
        if not task.cancelled() and (error := task.exception()):
            self._become(State.FAILED, str(error) or type(error).__name__)

    async def _keep(self) -> None:
        for need in self._needs:
            await need.ready.wait()
        if self.service.once:
            await self._run_once()
        else:
            await self._run_for_ever()

    async def _run_once(self) -> None:
        once = self.service.once
        assert once
        if once.is_done():
            self._become(State.DONE, "nothing new")
        elif (code := await self._live()) == 0:
            once.mark_done()
            self._become(State.DONE)
        else:
            self._become(State.FAILED, how_it_ended(code))

    async def _run_for_ever(self) -> None:
        restart = self.service.restart
        clock = asyncio.get_running_loop().time
        deaths = 0
        while True:
            began = clock()
            code = await self._live()
            deaths = 1 if clock() - began > restart.calm else deaths + 1
            reason = self.note or how_it_ended(code)
            if deaths >= restart.attempts and not self.ready.is_set():
                self._become(State.FAILED, reason)
                return
            self.restarts += 1
            self._become(State.RESTARTING, reason)
            await asyncio.sleep(restart.delay(deaths))

    async def _live(self) -> int:
        """Run the command once; return its exit code."""
        environ = self.service.environ()
        try:
            self._process = await Process.start(
                self.service.command,
                environ=environ,
                folder=self._folder,
                stop_signal=self.service.stop_signal,
                write=lambda text: self._watcher.line(self.service.name, text),
            )
        except OSError as error:
            self._watcher.line(self.service.name, f"{self.service.command[0]}: {error.strerror}")
            return 127
        self._become(State.STARTING)
        looking = asyncio.create_task(self._look(self._process))
        try:
            code = await self._process.wait()
            self._process = None
            return code
        finally:
            looking.cancel()

    async def _look(self, process: Process) -> None:
        if self.service.once:
            return
        try:
            async with asyncio.timeout(self.service.ready_within):
                await self._until_healthy()
        except TimeoutError:
            self.note = f"was not healthy within {self.service.ready_within:.0f} s"
            process.signal(signal.SIGKILL)
        else:
            self._become(State.HEALTHY)

    async def _until_healthy(self) -> None:
        environ = self.service.environ()
        pause = _FIRST_LOOK
        while self.service.probe and not await self.service.probe.is_healthy(environ):
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, _SLOWEST_LOOK)

    def _become(self, state: State, note: str = "") -> None:
        assert state in FOLLOWS[self.state], f"{self.service.name}: {self.state} → {state}"
        self.state, self.note = state, note
        if state in (State.HEALTHY, State.DONE):
            self.ready.set()
        elif state is State.FAILED:
            self.failed.set()
        self._watcher.changed(self)
