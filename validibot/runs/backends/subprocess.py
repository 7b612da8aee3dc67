"""Validators as child processes of this one, for development on one machine.

Whoever launches may be a web process with no worker beside it, so the child is told not to call
back: a thread waits for its end, and the end is the callback. The stored output is then read by
the same code that answers callbacks. A child outlives its parent, and so does the folder it works in;
the next sweep finds its output, and removes that folder.
"""

import hashlib
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error

from validibot.runs.backends.base import (
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Over,
    Phase,
)

_GRACE_SECONDS = 10
# What the interpreter and its libraries take on top of a validator's budget.
_OVERHEAD_MB = 512
_ATTEMPT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[^-]*$")

logger = logging.getLogger(__name__)


class SubprocessBackend(ExecutionBackend):
    """OPTIONS: `validators_dir`, the folder of the validators' package; `environ`, what a validator
    needs to reach the files."""

    local = True
    shares_our_user = True
    posts_callbacks = False

    def launch(self, request: LaunchRequest) -> Launch:
        scratch = Path(tempfile.mkdtemp(prefix=f"{_ours()}{request.attempt_id}-"))
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
        """The exit code is lost on other processes; the output object tells what came of it."""
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
            for path in Path(tempfile.gettempdir()).glob(f"{_ours()}*")
            if (found := _ATTEMPT.search(path.name))
        }
        ended = over(set(folders.values()))
        unwanted = [path for path, attempt in folders.items() if attempt in ended]
        for path in unwanted:
            shutil.rmtree(path, ignore_errors=True)
        return len(unwanted)

    def check(self) -> Sequence[CheckMessage]:
        folder = self.options.get("validators_dir", "")
        if folder and Path(folder).is_dir():
            return []
        where = f"EXECUTION_BACKENDS[{self.alias!r}]"
        return [
            Error(f"{where}: validators_dir {folder!r} is no folder.", id="validibot.runs.E003")
        ]

    def _command(self, command: Sequence[str]) -> list[str]:
        program, *arguments = command
        return [sys.executable if program == "python" else program, *arguments]

    def _environment(self, request: LaunchRequest, scratch: Path) -> dict[str, str]:
        """A validator runs foreign models: none of our own variables reach it."""
        return {
            **self.options.get("environ", {}),
            "PATH": os.defpath,
            "PYTHONPATH": str(Path(self.options["validators_dir"]).parent),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "VALIDIBOT_INPUT_URI": request.input_uri,
            "VALIDIBOT_OUTPUT_URI": request.output_uri,
            "VALIDIBOT_RUN_ID": str(request.run_id),
            "VALIDIBOT_ATTEMPT_SCRATCH_ROOT": str(scratch),
        }


def _ours() -> str:
    """Tell this deployment's folders from those of another on the same machine."""
    return f"validibot-{hashlib.sha256(settings.DATA_ROOT.encode()).hexdigest()[:12]}-"


def _watch(
    child: "subprocess.Popen[bytes]", request: LaunchRequest, scratch: Path, execution: str
) -> None:
    phase = Phase.FAILED
    try:
        child.wait(request.timeout_seconds)
    except subprocess.TimeoutExpired:
        phase = Phase.TIMED_OUT
        logger.warning("validator %s is stopped: its time is over", child.pid)
        child.terminate()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    message = "The validator's process has ended."
    request.on_end(ExecutionState(phase=phase, execution=execution, message=message))


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
    """Return `pid:start time`, which no later process of the same number has; empty: no process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    try:
        # proc(5): field 22 is the start time; the name in field 2 may hold spaces.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:
        started = ""
    return f"{pid}:{started}"
