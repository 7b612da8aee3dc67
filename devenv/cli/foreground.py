"""`up` in the foreground: one supervisor from the first process to the last, and its board."""

import asyncio
import os
import signal
import time
from dataclasses import replace

from devenv.cli import doctor, summary
from devenv.cli.context import Context
from devenv.cli.output import WIDTH, CliOutput
from devenv.config import Config
from devenv.environment import wants_reload
from devenv.local_stack import LocalStack
from devenv.services import builtin, facts, services, urls
from devenv.stack import statefile
from devenv.stack.logfile import LogFile, tail
from devenv.stack.problems import ServiceFailed
from devenv.stack.runner import RunnerState, ServiceRunner
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

    def enter(self, phase: Phase, *, error: str = "") -> None:
        self._save(replace(self.state, phase=phase, error=error))

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
            self._output.warn(f"{name:<{WIDTH}}  {effect}. The next edit tries again.")
        else:
            done = "ran again" if runner.service.once else "reloaded"
            self._output.success(f"{name:<{WIDTH}}  {seconds:5.1f} s  {done}")

    def _record(self, runner: ServiceRunner, seconds: float) -> ServiceState:
        old = runner.reload_failure and not runner.service.once
        note = f"not reloaded: {runner.reload_failure}" if old else runner.note
        one = ServiceState(runner.state, runner.pid, runner.restarts, note, round(seconds, 2))
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
        """Print what a person wants to know; `Foreground` reports a failed start."""
        label, seconds = f"{name:<{WIDTH}}", f"{one.seconds:5.1f} s"
        if one.state == RunnerState.HEALTHY:
            self._output.success(f"{label}  {seconds}")
        elif one.state == RunnerState.DONE:
            self._output.success(f"{label}  {one.note or seconds}")
        elif one.state == RunnerState.RESTARTING:
            self._output.warn(f"{label}  {one.note}; it is started again")


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
        self._supervisor = Supervisor(
            services(stack), folder=context.config.root, observer=self._board
        )
        self._stop = asyncio.Event()
        self._code = 0
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
            loop.add_signal_handler(number, self._asked_to_stop, code)
        self._board.enter("starting")
        if (engine := doctor.energyplus()).fix:
            self._output.warn(f"EnergyPlus: {engine.text}. Next: {engine.fix}")
        if wants_reload():
            self._reloading = asyncio.create_task(self._reload_on_edits())
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.result():
            await stopping
        starting.cancel()
        if self._reloading:
            self._reloading.cancel()
        await self._take_down()
        return self._code

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
        for line in tail(self._context.config.logs / f"{error.service}.log", _LAST_LINES):
            self._output.say(f"    {line}")
        self._output.fail(error.message, hint=error.hint)
        self._board.enter("starting", error=error.message)

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
        self._output.say("\n  Stopping. Ctrl-C again kills at once.")
        await self._supervisor.down()
        self._board.enter("failed" if error else "stopped", error=error)
        self._output.success("Stopped; the data stays. make up brings everything back.")
