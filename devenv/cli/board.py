"""Watches the services while `up` runs: keeps logs and state file, tells what matters."""

import time
from dataclasses import replace

from devenv.cli.output import Output
from devenv.config import Config
from devenv.stack import statefile
from devenv.stack.logfile import LogFile
from devenv.stack.runner import ServiceRunner, State
from devenv.stack.statefile import Phase, ServiceState, StackState

WIDTH = 8


class Board:
    """Quiet while things start (one line each), a stream of log lines afterwards."""

    def __init__(self, *, config: Config, output: Output, state: StackState) -> None:
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
        if runner.state is State.STARTING:
            self._began[name] = time.monotonic()
        seconds = time.monotonic() - self._began.get(name, time.monotonic())
        self._tell(name, self._record(runner, seconds))

    def reloaded(self, runner: ServiceRunner, seconds: float) -> None:
        name = runner.service.name
        self._record(runner, seconds)
        if runner.reload_failure:
            why = f"the new code {runner.reload_failure}; the old code still serves"
            self._output.warn(f"{name:<{WIDTH}}  {why}. Save a file to try again.")
        else:
            self._output.success(f"{name:<{WIDTH}}  {seconds:5.1f} s  reloaded")

    def _record(self, runner: ServiceRunner, seconds: float) -> ServiceState:
        failure = runner.reload_failure
        note = runner.note or (f"runs older code: the new code {failure}" if failure else "")
        one = ServiceState(runner.state, runner.pid, runner.restarts, note, round(seconds, 2))
        self._save(replace(self.state, services={**self.state.services, runner.service.name: one}))
        return one

    def line(self, service: str, text: str) -> None:
        if service not in self._logs:
            self._logs[service] = LogFile(self._config.logs / f"{service}.log")
        self._logs[service].write(text)
        if self.streaming:
            self._output.log(service, text, width=WIDTH)

    def _save(self, state: StackState) -> None:
        self.state = state
        statefile.write(self._config.state_file, state)

    def _tell(self, name: str, one: ServiceState) -> None:
        """Say what a person wants to know; a failure is told by who ends the start."""
        label, seconds = f"{name:<{WIDTH}}", f"{one.seconds:5.1f} s"
        if one.state == State.HEALTHY:
            self._output.success(f"{label}  {seconds}")
        elif one.state == State.DONE:
            self._output.success(f"{label}  {one.note or seconds}")
        elif one.state == State.RESTARTING:
            self._output.warn(f"{label}  {one.note}; it is started again")
