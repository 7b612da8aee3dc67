"""A process that has imported what a task will need, waits, and becomes the task by forking.

Standard library only, as it runs in the interpreter of the task. It reads one JSON object a line from
the emulator and answers each with the pid of the task's supervisor. When the emulator is gone it goes
too; what it has forked runs on.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

CHANNEL = 3  # the file descriptor of the emulator
READY = b"ready\n"
_CHUNK = 65536
_OURS = ("forkserver", "supervisor")


def main(supervise: Callable[..., None], modules: Iterable[str]) -> None:
    """Import `modules` and serve. `supervise` forks, and returns in the task's process only."""
    os.setsid()
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()  # noqa: PTH109 - what `python -m` puts there
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors end unobserved
    gc.collect()
    gc.freeze()  # so that the collector touches no page that is shared with the tasks
    os.write(CHANNEL, READY)
    request = _next_fork()
    os.close(CHANNEL)
    place = {name: request[name] for name in ("log", "memory", "grace")}
    supervise(request["folder"], **place)
    _become(request)
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _next_fork() -> Any:
    """Fork for each request; return it in the new process."""
    rest = b""
    while data := os.read(CHANNEL, _CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                return json.loads(line)
            os.write(CHANNEL, b"%d\n" % pid)
    os._exit(0)


def _become(request: Any) -> None:
    """Put aside what this process was, as far as a program could tell."""
    os.environ.clear()  # noqa: TID251 - a container's environment is given, not inherited
    os.environ.update(request["env"])  # noqa: TID251
    os.chdir(request["cwd"])
    sys.argv[:] = ["-m", *request["args"]]
    time.tzset()
    tempfile.tempdir = None
    if numbers := sys.modules.get("numpy.random"):
        numbers.seed()
    for name in _OURS:
        sys.modules.pop(name, None)
