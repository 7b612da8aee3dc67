"""Execution backend that runs validators as child processes, for development on one machine.

The launcher may be a web process with no worker beside it, so validators do not call back: a thread
waits for the end of the child and reports it. A child outlives its launcher, and so does the folder in
which it works; the next sweep finds its output and removes the folder. A child that outlives its
launcher has nobody who ends it in time: the sweep cancels it when its attempt has timed out.
"""

import hashlib
import logging
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error

from validibot.runs.backends.base import (
    BackendOptions,
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Over,
    Phase,
)

_GRACE_SECONDS = 10
# Memory of the interpreter and its libraries on top of a validator's budget.
_OVERHEAD_MB = 512
_ATTEMPT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[^-]*$")

logger = logging.getLogger(__name__)


class SubprocessOptions(BackendOptions):
    """OPTIONS of the subprocess backend.

    `validators_dir` is the folder of the validators' package; `environ` are variables that a
    validator needs to reach the files.
    """

    validators_dir: str = ""
    environ: dict[str, str] = {}


class SubprocessBackend(ExecutionBackend):
    """Execution backend that runs validators as child processes."""

    options_class: ClassVar[type[BackendOptions]] = SubprocessOptions
    options: SubprocessOptions
    local = True
    shares_our_user = True
    posts_callbacks = False

    def launch(self, request: LaunchRequest) -> Launch:
        scratch = Path(tempfile.mkdtemp(prefix=f"{_folder_prefix()}{request.attempt_id}-"))
        try:
            child = subprocess.Popen(  # noqa: S603 - the command comes from our own catalogue
                self._command(request.command),
                cwd=scratch,
                env=self._environment(request, scratch),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            scratch.rmdir()
            raise LaunchError(f"{request.command[0]}: {error.strerror}", permanent=True) from error
        _limit(child.pid, request)
        execution = _name(child.pid)
        watch = threading.Thread(
            target=_watch,
            args=(child, request, scratch, execution),
            name=f"validator-{child.pid}",
            daemon=True,
        )
        watch.start()
        return Launch(execution=execution)

    def state(self, execution: str) -> ExecutionState:
        """Return RUNNING or FAILED: other processes cannot see the exit code, only the output."""
        if _name(int(execution.partition(":")[0])) == execution:
            return ExecutionState(phase=Phase.RUNNING, execution=execution)
        return ExecutionState(
            phase=Phase.FAILED, execution=execution, message="The validator's process has ended."
        )

    def cancel(self, execution: str) -> bool:
        pid = int(execution.partition(":")[0])
        if _name(pid) != execution:
            return False
        os.killpg(pid, signal.SIGTERM)
        return True

    def sweep(self, over: Over) -> int:
        folders = {
            path: UUID(found[1])
            for path in Path(tempfile.gettempdir()).glob(f"{_folder_prefix()}*")
            if (found := _ATTEMPT.search(path.name))
        }
        ended = over(set(folders.values()))
        unwanted = [path for path, attempt in folders.items() if attempt in ended]
        for path in unwanted:
            shutil.rmtree(path, ignore_errors=True)
        return len(unwanted)

    def check(self) -> Sequence[CheckMessage]:
        folder = self.options.validators_dir
        if folder and Path(folder).is_dir():
            return []
        message = f"{self.where}: validators_dir {folder!r} is not a folder."
        return [Error(message, id="validibot.runs.E003")]

    def _command(self, command: Sequence[str]) -> list[str]:
        program, *arguments = command
        return [sys.executable if program == "python" else program, *arguments]

    def _environment(self, request: LaunchRequest, scratch: Path) -> dict[str, str]:
        """Return the whole environment: a validator runs foreign models and gets no secret of ours."""
        return {
            **self.options.environ,
            "PATH": os.defpath,
            "PYTHONPATH": str(Path(self.options.validators_dir).parent),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "VALIDIBOT_INPUT_URI": request.input_uri,
            "VALIDIBOT_OUTPUT_URI": request.output_uri,
            "VALIDIBOT_RUN_ID": str(request.run_id),
            "VALIDIBOT_ATTEMPT_SCRATCH_ROOT": str(scratch),
        }


def _folder_prefix() -> str:
    """Return the prefix of this deployment's folders, different from others on the machine."""
    return f"validibot-{hashlib.sha256(settings.DATA_ROOT.encode()).hexdigest()[:12]}-"


def _watch(
    child: "subprocess.Popen[bytes]", request: LaunchRequest, scratch: Path, execution: str
) -> None:
    """Wait for the child, end it when its time is over, and report its end.

    The child is reaped last: until then it exists, so that nobody who asks for its state meanwhile
    takes a timeout for a failure.
    """
    code = _wait(child, request.timeout_seconds)
    timed_out = code is None
    if code is None:
        logger.warning("validator %s exceeds its %s s", child.pid, request.timeout_seconds)
        os.killpg(child.pid, signal.SIGTERM)
        code = _wait(child, _GRACE_SECONDS)
    if code is None:
        os.killpg(child.pid, signal.SIGKILL)
        code = _wait(child, _GRACE_SECONDS)
    phase = Phase.FAILED if code else Phase.SUCCEEDED
    state = ExecutionState(
        phase=Phase.TIMED_OUT if timed_out else phase,
        execution=execution,
        message=_exit_message(-signal.SIGKILL if code is None else code),
    )
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        request.on_end(state)
    finally:
        child.wait()


def _wait(child: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """Return the exit code without reaping the child, or None if it runs longer."""
    if not hasattr(os, "pidfd_open"):
        with suppress(subprocess.TimeoutExpired):
            return child.wait(seconds)
        return None
    descriptor = os.pidfd_open(child.pid)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            return None
    finally:
        os.close(descriptor)
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None, "the descriptor said that it has ended"
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _exit_message(returncode: int) -> str:
    if returncode < 0:
        return f"The validator's process was ended by {signal.Signals(-returncode).name}."
    return f"The validator's process ended with exit code {returncode}."


def _limit(pid: int, request: LaunchRequest) -> None:
    """Set limits from outside: code between fork and exec is not safe in a threaded process."""
    if sys.platform != "linux":
        return
    memory = (request.memory_mb + _OVERHEAD_MB) * 1024 * 1024
    for limit, value in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        try:
            resource.prlimit(pid, limit, (value, value))
        except (ProcessLookupError, PermissionError) as error:
            logger.warning("validator %s runs without limits: %s", pid, error)


def _name(pid: int) -> str:
    """Return `pid:start time`, which no other process ever has; empty if there is no process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    try:
        # proc(5): field 22 is the start time; the name in field 2 may contain spaces.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        started = ""
    return f"{pid}:{started}"
