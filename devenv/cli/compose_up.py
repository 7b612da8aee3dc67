"""`up --runtime docker`: build missing images, start the containers, stream their logs."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import NoReturn

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.compose.project import PUBLISHED, ComposeProject, is_given_name, project_name
from devenv.stack import ports, statefile
from devenv.stack.logfile import tail
from devenv.stack.problems import StackError
from devenv.stack.statefile import Lock, Phase, StackState

_PAUSE = 0.5
_LAST_LINES = 15
_GOOD = ("healthy", "done")


class _Stopped(BaseException):
    """A signal asked for an end."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def run(context: Context, *, mode: str, detach: bool) -> int:
    """Return once the stack is ready (`detach`), or has stopped again."""
    modes = _modes(context)
    if mode not in modes:
        context.output.fail(
            f"RUNTIME=docker has no MODE={mode}; there are {', '.join(modes) or 'none'}.",
            hint="make up RUNTIME=docker",
        )
        return 2
    with Lock(context.config.lock):
        project = _project(context, mode)
        return _Stack(context, project, mode).run(detach=detach)


def _modes(context: Context) -> list[str]:
    """Return the profiles with which the whole stack runs in containers."""
    upper = (profile for profile in context.config.profiles.values() if profile.runtime)
    return [name for profile in upper for name in profile.on]


def _project(context: Context, mode: str) -> ComposeProject:
    """Choose name and ports; report ports that differ from devenv.toml. Raises StackError."""
    used = context.projects()
    name = project_name(context.config.root)
    if used and not is_given_name(name):
        name = used[-1]
    project = ComposeProject(context.config.root, name)
    project.check()
    project.require_own()
    if is_given_name(name) and name not in used and project.has_data():
        raise StackError(
            f"The compose project {name} has data that this folder did not make: the volume "
            f"{name}_state.",
            hint="choose another COMPOSE_PROJECT_NAME, or leave it out",
        )
    known = context.config.stacks[context.config.layers(mode)].wanted_ports()
    wanted = {name: known.get(name, usual) for name, (_, usual) in PUBLISHED.items()}
    remembered = context.last_state().ports
    taken = ports.choose(wanted, remembered=remembered, free=ports.Reservations().take)
    for name, port in taken.items():
        if port != wanted[name] and not (mode == "mock" and name in ("gcp", "console")):
            context.output.warn(
                f"{name:<{context.output.width}}  port {wanted[name]} is taken by {ports.holder(wanted[name])};"
                f" it listens on {port} ({PUBLISHED[name][0]})"
            )
    return replace(project, ports=taken)


class _Stack:
    """One start, from the first image to the last container."""

    def __init__(self, context: Context, project: ComposeProject, mode: str) -> None:
        self._context = context
        self._output = context.output
        self._project = project
        self._mode = mode
        self._told: dict[str, str] = {}
        self._began = time.monotonic()
        self._log = context.config.state / "up.log"
        self._state = StackState(
            pid=os.getpid(),
            mode=mode,
            jobs="docker",
            runtime=compose.RUNTIME,
            ports=dict(project.ports),
            folder=str(context.config.root),
            projects=(*(one for one in context.projects() if one != project.name), project.name),
        )

    def run(self, *, detach: bool) -> int:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
            _on_signal(number, code)
        try:
            self._enter("starting")
            self._images()
            self._start()
            self._enter("ready")
            compose.tell(self._context, self._project)
            self._output.say(
                "  `docker compose` alone uses this stack and its data after\n"
                f"  export COMPOSE_PROJECT_NAME={self._project.name}\n"
            )
            if detach:
                self._output.say("  It runs in containers. make logs follows, make down stops.\n")
                return 0
            self._output.say("  Ctrl-C stops everything. The logs follow.\n")
            self._stream()
        except _Stopped as stopped:
            return self._take_down(stopped.code)
        except StackError as error:
            self._output.fail(error.message, hint=error.hint)
            return self._take_down(1, error=error.message)
        return self._take_down(0)

    def _images(self) -> None:
        """Build the validators that are missing; compose builds the rest."""
        config = self._context.config
        stack = config.stacks[config.layers(self._mode)]
        jobs = stack.cloud.jobs if "gcp" in stack.services else ()
        images = sorted({job.image for job in jobs})
        if not (missing := self._project.missing(images)):
            return
        self._output.say(f"  Building {', '.join(missing)}. The first time takes a minute or two.")
        self._build()
        for image in self._project.missing(missing):
            self._output.warn(f"There is no image {image}: runs that need it will fail.")

    def _build(self) -> None:
        with self._log.open("w") as log:
            builder = subprocess.Popen(
                ["make", "validators"],
                cwd=self._project.root,
                env=self._project.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            if self._ended(builder):
                self._explain("The images of the validators could not be built.")

    def _start(self) -> None:
        """Start the containers, telling each that is ready. Raises StackError."""
        targets = compose.targets(self._mode)
        with self._log.open("w") as log:
            starter = self._project.start(
                *("up", "--detach", "--wait", "--build", "--remove-orphans", *targets),
                stdout=log,
                stderr=log,
            )
            if self._ended(starter):
                self._tell_progress()
                self._explain("The containers did not start.")
        self._tell_progress()

    def _ended(self, program: subprocess.Popen[str]) -> int:
        """Wait for a program, telling of containers meanwhile; it ends when we have to."""
        try:
            while program.poll() is None:
                time.sleep(_PAUSE)
                self._tell_progress()
        except _Stopped:
            program.terminate()
            program.wait()
            raise
        return int(program.returncode)

    def _tell_progress(self) -> None:
        for service, state in compose.state_of(self._project.containers()).items():
            if state != self._told.get(service) and state in _GOOD:
                seconds = time.monotonic() - self._began
                self._output.success(f"{service:<{self._output.width}}  {seconds:5.1f} s")
            self._told[service] = state

    def _explain(self, what: str) -> NoReturn:
        """Show the last lines of the service that failed, else of Docker. Raises StackError."""
        failed = [name for name, state in self._told.items() if state in ("failed", "unhealthy")]
        if failed:
            lines = self._project.run("logs", "--no-log-prefix", "--tail", "15", failed[0])
            self._show(lines.splitlines())
            raise StackError(f"{failed[0]} did not start.", hint="make up RUNTIME=docker")
        last = tail(self._log, _LAST_LINES)
        self._show(last)
        _raise_if_port_is_taken("\n".join(last), self._project.ports)
        raise StackError(
            what,
            hint=f"see {self._log.relative_to(self._project.root)}; "
            "where no registry can be reached, give the engine the images by docker load",
        )

    def _show(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._output.say(f"    {line}")

    def _stream(self) -> None:
        reader = self._project.start(
            *("logs", "--no-color", "--follow", "--tail", "0"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            for service, line in compose.lines_of(reader):
                self._output.log(service, line)
        finally:
            reader.terminate()
            reader.wait()

    def _take_down(self, code: int, *, error: str = "") -> int:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._enter("stopping", error=error)
        self._output.stopping(error, by_hand=True)
        try:
            compose.stop(self._project)
        except _Stopped:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            compose.stop(self._project, "--timeout", "0")
            self._output.say("  Killed.")
        else:
            self._output.stopped(error, command="make up RUNTIME=docker")
        self._enter("failed" if error else "stopped", error=error)
        return code

    def _enter(self, phase: Phase, *, error: str = "") -> None:
        self._state = replace(self._state, phase=phase, error=error)
        statefile.write(self._context.config.state_file, self._state)


_PORT_TAKEN = re.compile(r"[\d.]+:(\d+)[^\n]*(?:already allocated|already in use)")


def _raise_if_port_is_taken(output: str, published: Mapping[str, int]) -> None:
    """Raise StackError that names port and variable if Docker could not publish a port."""
    if not (found := _PORT_TAKEN.search(output)):
        return
    port = int(found[1])
    names = {number: PUBLISHED[name][0] for name, number in published.items()}
    variable = names.get(port, "WEB_PORT")
    raise StackError(
        f"Port {port} is in use by {ports.holder(port)}.",
        hint=f"end it, or change the port in devenv.toml; with Docker alone, {variable}=<port>",
    )


def _on_signal(number: int, code: int) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stopped(code)

    signal.signal(number, stop)
