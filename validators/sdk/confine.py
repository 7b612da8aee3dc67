"""Child program that limits itself and then becomes the command it was given.

`python -I -S confine.py MEMORY_MB FILE_MB PARENT_PID PROGRAM ARGUMENT...`

Only the process itself can set these limits. Between fork and exec Python may deadlock in a process
with threads, so it sets them here. Run by path and isolated, it imports nothing of ours and costs
only the start of a bare interpreter. Both the limits and the death signal survive the exec.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress

_MB = 1 << 20
_PR_SET_PDEATHSIG = 1
_NOT_EXECUTABLE = 127  # as shells and the dynamic loader report it


def main(arguments: list[str]) -> None:
    memory_mb, file_mb, parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the signal was set.
        if os.getppid() != int(parent):
            os.kill(os.getpid(), signal.SIGKILL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, int(file_mb) * _MB)
    if int(memory_mb):
        _limit(resource.RLIMIT_AS, int(memory_mb) * _MB)
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(_NOT_EXECUTABLE)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(ValueError, OSError):  # macOS does not know every limit
        resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main(sys.argv[1:])
