"""`up` in the foreground: one supervisor from the first process to the last, and its board."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from devenv.cli import doctor, summary
from devenv.cli.context import Context
from devenv.cli.output import CliOutput
from devenv.config import Config
from devenv.environment import wants_reload
from devenv.local_stack import LocalStack
from devenv.services import builtin, facts, services, urls
from devenv.stack import statefile
from devenv.stack.control import ControlServer
from devenv.stack.logfile import LogFile, tail
from devenv.stack.problems import ServiceFailed, StackError
from devenv.stack.runner import ServiceRunner
from devenv.stack.runner_state import RunnerState
from devenv.stack.statefile import Phase, ServiceState, StackState
from devenv.stack.supervisor import Supervisor

_LAST_LINES = 15


class Board:
    """Observer that keeps logs and state file, and prints one line per event, later all log lines."""

    def __init__(self, *, config: Config, output: CliOutput, state: StackState) -> None:
        self.state = state
        self.streaming = False
        self._config = config
        self._output = output
        self._logs: dict[str, LogFile] = {}
        self._began: dict[str, float] = {}
        config.logs.mkdir(parents=True, exist_ok=True)

    def enter(self, phase: Phase, *, error: str = "", control: str = "") -> None:
        control = control or self.state.control
        self._save(replace(self.state, phase=phase, error=error, control=control))

    def changed(self, runner: ServiceRunner) -> None:
        name = runner.service.name
        if runner.state is RunnerState.STARTING:
            self._began[name] = time.monotonic()
        seconds = time.monotonic() - self._began.get(name, time.monotonic())
        self._tell(name, self._record(runner, seconds))

    def reloaded(self, runner: ServiceRunner, seconds: float) -> None:
        name = runner.service.name
        self._record(runner, seconds)
        if runner.reload_failure:
            why, serves = runner.reload_failure, not runner.service.once
            effect = f"not reloaded: {why}; the old code serves" if serves else f"failed: {why}"
            self._output.warn(f"{name:<{self._output.width}}  {effect}. The next edit tries again.")
        else:
            done = "ran again" if runner.service.once else "reloaded"
            self._output.success(f"{name:<{self._output.width}}  {seconds:5.1f} s  {done}")

    def _record(self, runner: ServiceRunner, seconds: float) -> ServiceState:
        old = runner.reload_failure and not runner.service.once
        note = f"not reloaded: {runner.reload_failure}" if old else runner.note
        one = ServiceState(
            state=runner.state,
            pid=runner.pid,
            restarts=runner.restarts,
            note=note,
            seconds=round(seconds, 2),
            needs=runner.service.needs,
            is_step=runner.service.once is not None,
        )
        self._save(replace(self.state, services={**self.state.services, runner.service.name: one}))
        return one

    def line(self, service: str, text: str) -> None:
        if service not in self._logs:
            self._logs[service] = LogFile(self._config.logs / f"{service}.log")
        self._logs[service].write(text)
        if self.streaming:
            self._output.log(service, text)

    def _save(self, state: StackState) -> None:
        self.state = state
        statefile.write(self._config.state_file, state)

    def _tell(self, name: str, one: ServiceState) -> None:
        """Print what a person wants to know, but no failed start, which `report` reports."""
        label, seconds = f"{name:<{self._output.width}}", f"{one.seconds:5.1f} s"
        if one.state == RunnerState.HEALTHY:
            self._output.success(f"{label}  {seconds}")
        elif one.state == RunnerState.DONE and self.state.phase != "ready":  # later it ran again
            self._output.success(f"{label}  {one.note or seconds}")
        elif one.state == RunnerState.RESTARTING:
            self._output.warn(f"{label}  {one.note}; it is started again")
        elif one.state == RunnerState.STOPPED and self.state.phase == "ready":
            self._output.say(f"  - {label}  stopped. Next: devenv start {name}")
        elif one.state == RunnerState.FAILED and self.state.phase == "ready" and not one.is_step:
            if not self.streaming:
                self._show_last_lines(name)
            self._output.fail(f"{label}  failed: {one.note}", hint=f"devenv start {name}")

    def report(self, error: ServiceFailed) -> None:
        """Report a start that failed."""
        self._show_last_lines(error.service)
        self._output.fail(error.message, hint=error.hint)
        self.enter("starting", error=error.message)

    def _show_last_lines(self, name: str) -> None:
        for line in tail(self._config.logs / f"{name}.log", _LAST_LINES):
            self._output.say(f"    {line}")


class Foreground:
    """One stack in one event loop; the first signal stops it gracefully, the second at once."""

    def __init__(self, context: Context, stack: LocalStack, *, stream: bool) -> None:
        self._context = context
        self._stream = stream
        self._output = context.output
        self._stack = stack
        self._board = Board(
            config=context.config,
            output=context.output,
            state=StackState(
                phase="starting",
                pid=os.getpid(),
                mode=stack.mode,
                jobs=stack.jobs,
                folder=str(context.config.root),
                projects=context.projects(),
                ports={**context.last_state().ports, **stack.ports},
                debug=stack.debug,
                urls=urls(stack),
            ),
        )
        self._supervisor = self._new_supervisor()
        self._commands = asyncio.Lock()
        self._stop = asyncio.Event()
        self._code = 0
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
            loop.add_signal_handler(number, self._asked_to_stop, code)
        async with ControlServer(lambda: StackSession(self)) as control:
            self._board.enter("starting", control=control.path)
            await self._run()
        return self._code

    async def _run(self) -> None:
        checking = asyncio.create_task(self._check_machine())
        self._watch()
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.result():
            await stopping
        starting.cancel()
        checking.cancel()
        if self._reloading:
            self._reloading.cancel()
        await self._take_down()

    async def _check_machine(self) -> None:
        config = self._context.config
        for check in await asyncio.to_thread(doctor.declared, config, at_up=True):
            if check.fix:
                self._output.warn(f"{check.name}: {check.text}. Next: {check.fix}")

    async def control(self, command: str, service: str) -> dict[str, Any]:
        """Start, stop or restart a service; return its line of `status`. Raises StackError."""
        async with self._commands:
            self._board.state.check_ready()
            began = time.monotonic()
            await getattr(self._supervisor, command)(service)
        seconds = round(time.monotonic() - began, 2)
        return asdict(self._board.state.services[service]) | {"seconds": seconds}

    async def pause(self) -> None:
        """Stop all services; the supervisor stays, and holds the lock. Raises StackError."""
        async with self._commands:
            self._board.state.check_ready()
            self._board.enter("paused")
            if self._reloading:
                self._reloading.cancel()
            await self._supervisor.down()

    async def resume(self) -> None:
        """Start all services again, with the data and secrets that the folder has now.

        Raises ServiceFailed; the stack then ends as after a failed start.
        """
        async with self._commands:
            if self._stop.is_set() or self._board.state.phase != "paused":
                return
            self._stack = replace(self._stack, secrets=self._context.config.load_secrets())
            if self._stack.has_cloud:
                builtin.write_cloud_file(self._stack)
            self._supervisor = self._new_supervisor()
            self._watch()
            try:
                await self._supervisor.up()
            except ServiceFailed as error:
                self._report(error)
                raise
            self._board.enter("ready")

    def _new_supervisor(self) -> Supervisor:
        folder = self._context.config.root
        return Supervisor(services(self._stack), folder=folder, observer=self._board)

    def _watch(self) -> None:
        if wants_reload():
            self._reloading = asyncio.create_task(self._reload_on_edits())

    async def _start(self) -> bool:
        if self._stack.has_cloud:
            builtin.write_cloud_file(self._stack)
        try:
            with self._output.progress("Starting"):
                await self._supervisor.up()
        except ServiceFailed as error:
            self._report(error)
            return False
        self._board.enter("ready")
        if self._stream:
            config = self._context.config
            found = facts.gather(config, self._stack, self._board.state)
            self._output.result(found, summary.table_of(config, self._stack, found))
            self._output.say("  Ctrl-C stops everything. The logs follow.\n")
            self._board.streaming = True
        return True

    async def _reload_on_edits(self) -> None:
        try:
            await self._supervisor.reload_on_edits()
        except* OSError as errors:
            reason = errors.exceptions[0]
            self._output.warn(f"Edits are not noticed: {reason}. Next: make down && make up")

    def _report(self, error: ServiceFailed) -> None:
        self._code = 1
        self._stop.set()
        self._board.report(error)

    def _asked_to_stop(self, code: int) -> None:
        if self._stop.is_set():
            self._supervisor.kill()
            self._board.enter("stopped")
            self._output.say("  Killed.")
            os._exit(code)
        self._code = code
        self._stop.set()

    async def _take_down(self) -> None:
        self._board.streaming = False
        error = self._board.state.error
        self._board.enter("stopping", error=error)
        self._output.stopping(error, by_hand=self._stream)
        await self._supervisor.down()
        self._board.enter("failed" if error else "stopped", error=error)
        self._output.stopped(error, command="make up")


class StackSession:
    """Commands of one client to a stack. A pause ends with the client that asked for it."""

    def __init__(self, stack: Foreground) -> None:
        self._stack = stack
        self._paused = False

    async def handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        command, service = request.get("command"), request.get("service")
        match command:
            case "start" | "stop" | "restart" if isinstance(service, str):
                return await self._stack.control(command, service)
            case "pause":
                await self._stack.pause()
                self._paused = True
            case "resume":
                self._paused = False
                await self._stack.resume()
            case _:
                raise StackError(f"The stack does not know the command {command!r:.40}.")
        return {}

    async def close(self) -> None:
        if self._paused:
            with suppress(ServiceFailed):  # the stack has reported it, and ends
                await self._stack.resume()
