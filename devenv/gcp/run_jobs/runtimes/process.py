"""Runs attempts as processes of this machine, under a supervisor that outlives the emulator.

An image stands for a command in devenv.toml. The supervisor enforces limits and records the end in
a folder, where a later emulator finds it.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import TypeAlias

from devenv.gcp.config import ImageConfig
from devenv.gcp.errors import CloudError
from devenv.gcp.run_jobs.runtimes import supervisor
from devenv.gcp.run_jobs.runtimes.base import (
    AttemptExit,
    AttemptNotStarted,
    EmulatedAttempt,
    JobsRuntime,
    RunningAttempt,
    by_digest,
    digest,
    forget_old,
    log_of,
)
from devenv.gcp.run_jobs.runtimes.follower import LogFollower
from devenv.gcp.run_jobs.runtimes.warm import JobProcess, WarmKind, WarmServerLost, WarmServers

_LOOPBACK = "127.0.0.1"
Environ: TypeAlias = Callable[[str], Mapping[str, str]]
"""Account → the variables by which Google's clients find this cloud and that identity."""

GRACE = 10.0  # seconds from SIGTERM to SIGKILL, as Cloud Run documents
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BASE = {"PATH": f"{Path(sys.executable).parent}:{_PATH}", "LANG": "C.UTF-8"}
_MODULE = ("{python}", "-m")
# Variables that an interpreter reads when it starts; tasks that differ here share no process.
_EARLY = ("PYTHON", "LC_", "LANG", "TZ")
_HERE = str(Path(__file__).parent)
# A bare interpreter: no site-packages, and nothing of this package but the one module.
_SUPERVISE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import supervisor; supervisor.main(sys.argv[2:])"
)
_DEFAULT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)


class ProcessRunning(RunningAttempt):
    """An attempt under its supervisor; `folder` holds all that a later emulator needs to know."""

    def __init__(
        self,
        folder: Path,
        process: JobProcess,
        follower: LogFollower,
        *,
        discarded: Callable[[], object],
    ) -> None:
        self._folder = folder
        self._process = process
        self._follower: LogFollower | None = follower
        self._discarded = discarded

    async def wait(self) -> AttemptExit:
        await self._process.ended()
        self.stop_following()
        return self._read_exit()

    async def memory(self) -> int:
        return supervisor.resident(self._process.pid)

    def terminate(self) -> None:
        self._process.signal(signal.SIGTERM)

    def discard(self) -> None:
        self._discarded()
        # Thousands of files may lie there; nothing waits for them to go.
        asyncio.get_running_loop().run_in_executor(None, _remove, self._folder)

    async def kill(self) -> None:
        """End all of it, so that it is as if never started."""
        self.stop_following()
        _kill(self._folder)
        await self._process.ended()
        _remove(self._folder)

    def stop_following(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _read_exit(self) -> AttemptExit:
        try:
            code, number, terminated, out_of_memory = (self._folder / "exit").read_text().split()
        except (OSError, ValueError):
            _kill(self._folder)
            return AttemptExit(lost=True)
        return AttemptExit(
            code=int(code),
            signal=int(number),
            terminated=terminated == "1",
            out_of_memory=out_of_memory == "1",
        )


class ProcessRuntime(JobsRuntime):
    """Runs images as commands in `project`, with folders and logs in `data`."""

    def __init__(
        self,
        *,
        images: Iterable[ImageConfig],
        environ: Environ,
        data: Path,
        project: Path,
        grace: float = GRACE,
    ) -> None:
        self._images = by_digest(images)
        self._environ = environ
        self._folders = data.resolve() / "runtimes"
        self._logs = data.resolve() / "logs"
        self._project = project.resolve()
        self._grace = grace
        self._running: dict[str, ProcessRunning] = {}
        self._servers = WarmServers(self._project)

    async def pin(self, image: str) -> str | None:
        pinned = digest(image)
        return pinned if pinned in self._images else None

    def hint(self, image: str) -> str:
        return "Name its command under [[gcp.images]] in devenv.toml."

    def prepare(self, attempt: EmulatedAttempt) -> None:
        with contextlib.suppress(CloudError):  # an account that nobody has; `start` will say so
            if kind := self._kind(attempt):
                self._servers.prepare(kind)

    def reload(self) -> None:
        """Replace the waiting processes: code that they import has changed."""
        self._servers.renew()

    async def start(self, attempt: EmulatedAttempt) -> RunningAttempt:
        folder = self._folder(attempt)
        try:
            self._furnish(folder, attempt)
            process = await self._fork(folder, attempt) or self._spawn(folder, attempt)
        except (OSError, CloudError) as error:
            raise AttemptNotStarted(f"{attempt.name}: {error}") from error
        return self._run(folder, process, attempt)

    async def adopt(self, attempt: EmulatedAttempt) -> RunningAttempt | None:
        folder = self._folder(attempt)
        process = _supervisor_of(folder)
        if process is None:
            _remove(folder)
            return None
        return self._run(folder, process, attempt)

    def port(self, wanted: int) -> int:
        """Return a free port: processes share this machine's, so the wanted one is of no use."""
        with socket.socket() as probe:
            probe.bind((_LOOPBACK, 0))
            return int(probe.getsockname()[1])

    async def host(self, attempt: EmulatedAttempt) -> str:
        return _LOOPBACK

    async def open(self, keep: AbstractSet[str]) -> None:
        self._folders.mkdir(parents=True, exist_ok=True)
        self._sweep(keep)
        forget_old(self._logs)

    async def close(self) -> None:
        running, self._running = self._running, {}
        await asyncio.gather(*(each.kill() for each in running.values()))
        await self._servers.close()
        self._sweep(keep=set())

    def _sweep(self, keep: AbstractSet[str]) -> None:
        for folder in list(self._folders.glob("*")):
            if folder.name not in keep:
                _kill(folder)
                _remove(folder)

    def _run(self, folder: Path, process: JobProcess, attempt: EmulatedAttempt) -> ProcessRunning:
        path = self._log(attempt)
        follower = LogFollower(
            path,
            folder,
            prefix=attempt.name,
            on_lines=partial(self.on_lines, attempt),
            skip=_size(path),
        )
        running = self._running[attempt.name] = ProcessRunning(
            folder,
            process,
            follower,
            discarded=lambda: self._running.pop(attempt.name, None),
        )
        return running

    def _furnish(self, folder: Path, attempt: EmulatedAttempt) -> None:
        _remove(folder)
        (folder / "scratch").mkdir(parents=True)
        for mount, files in attempt.files.items():
            for path, data in files.items():
                file = _volume(folder, mount) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
                file.chmod(0o400)
        os.mkfifo(folder / "bell", 0o600)
        self._log(attempt).parent.mkdir(parents=True, exist_ok=True)

    async def _fork(self, folder: Path, attempt: EmulatedAttempt) -> JobProcess | None:
        """Let a waiting process become the task; None if there is none."""
        if (kind := self._kind(attempt)) is None:
            return None
        _, _, module, *args = self._command(folder, attempt)
        request = {
            "folder": str(folder),
            "log": str(self._log(attempt)),
            "memory": attempt.memory,
            "grace": self._grace,
            "cwd": str(self._project),
            "env": self._variables(folder, attempt),
            "module": module,
            "args": args,
        }
        try:
            return await self._servers.fork(kind, request)
        except WarmServerLost:
            if process := _supervisor_of(folder):
                return process
            self._furnish(folder, attempt)
            return None

    def _kind(self, attempt: EmulatedAttempt) -> WarmKind | None:
        """Return the waiting process that can become this attempt, if its image wants one."""
        image = self._images.get(digest(attempt.image))
        if image is None or not image.warm or attempt.command or image.command[:2] != _MODULE:
            return None
        early = {key: text for key, text in attempt.env.items() if key.startswith(_EARLY)}
        env = {**_BASE, "HOME": "/", **self._environ(attempt.account), **early}
        return WarmKind(image.warm, frozenset(env.items()))

    def _spawn(self, folder: Path, attempt: EmulatedAttempt) -> JobProcess:
        python = (sys.executable, "-I", "-S", "-c", _SUPERVISE, _HERE)
        place = (str(folder), str(self._project), str(self._log(attempt)))
        limits = (str(attempt.memory), str(self._grace))
        nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        pid = os.posix_spawn(
            sys.executable,
            (*python, *place, *limits, *self._command(folder, attempt)),
            self._variables(folder, attempt),
            file_actions=nothing,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
        return JobProcess.of(pid)

    def _command(self, folder: Path, attempt: EmulatedAttempt) -> tuple[str, ...]:
        command = attempt.command or self._images[digest(attempt.image)].command
        args = (_relocated(folder, attempt, argument) for argument in attempt.args)
        return (*(part.replace("{python}", sys.executable) for part in command), *args)

    def _variables(self, folder: Path, attempt: EmulatedAttempt) -> dict[str, str]:
        scratch = str(folder / "scratch")
        own = {"HOME": scratch, "TMPDIR": scratch}
        given = {name: _relocated(folder, attempt, text) for name, text in attempt.env.items()}
        return {**_BASE, **own, **self._environ(attempt.account), **given}

    def _folder(self, attempt: EmulatedAttempt) -> Path:
        return self._folders / attempt.name

    def _log(self, attempt: EmulatedAttempt) -> Path:
        return log_of(self._logs, attempt)


def _volume(folder: Path, mount: str) -> Path:
    """Return where the files of a mount path lie: a process has the file system of this machine."""
    return folder / "volumes" / mount.lstrip("/")


def _relocated(folder: Path, attempt: EmulatedAttempt, text: str) -> str:
    """Return a variable's or argument's text with real paths for those below a mount.

    The path of a socket may stand anywhere, as in the URL of a database.
    """
    for socket_folder, real in attempt.sockets.items():
        # The name of another instance may begin with that of this one.
        own = rf"{re.escape(socket_folder)}(?![a-z0-9-])"
        text = real.join(re.split(own, text))
    for mount in attempt.files:
        if text == mount or text.startswith(f"{mount}/"):
            return f"{_volume(folder, mount)}{text.removeprefix(mount)}"
    return text


def _supervisor_of(folder: Path) -> JobProcess | None:
    """Return who supervises the attempt of `folder`; None if nobody ever will."""
    if supervisor.claim(str(folder), "nobody"):
        return None
    try:
        return JobProcess.parse((folder / "claim").read_text())
    except FileNotFoundError:
        return None


def _kill(folder: Path) -> None:
    """Kill what runs for `folder`: the supervisor first, so that it tells nothing."""
    if (process := _supervisor_of(folder)) is None:
        return
    process.signal(signal.SIGKILL)
    try:
        task = JobProcess.parse((folder / "task").read_text())
    except FileNotFoundError:
        return
    if task is not None:
        task.kill_session()


def _remove(folder: Path) -> None:
    """Remove a folder; from the first moment on it is not found under its name."""
    trash = folder.with_name(f"{folder.name}.{time.monotonic_ns()}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
