"""Child program that dies with its parent and becomes the command it was given.

`python -I -S exec.py SIGNAL PARENT_PID PROGRAM ARGUMENT...`

On Linux the process itself asks for a signal at its parent's death. Between fork and exec Python may
deadlock in a process with threads, so it asks here; the request survives the exec. Other systems have
nothing like it: there a second process watches both, and sends the signal. Run by path and isolated,
this imports nothing of ours and costs only the start of a bare interpreter.
"""

import ctypes
import os
import sys
import time

_PR_SET_PDEATHSIG = 1
_NOT_EXECUTABLE = 127  # as shells report it
_PAUSE = 0.5


def main(arguments: list[str]) -> None:
    number, parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    else:
        _start_watcher(os.getpid(), int(parent), int(number))
    if os.getppid() != int(parent):  # it died before the call
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(_NOT_EXECUTABLE)


def _start_watcher(ours: int, parent: int, number: int) -> None:
    """Start a process that signals this one when its parent is gone, and ends with it.

    It is nobody's child in the end, so the command gets no child that it does not know.
    """
    if between := os.fork():
        os.waitpid(between, 0)
    elif os.fork():
        os._exit(0)
    else:
        os.setsid()
        os.closerange(0, 3)  # the pipes of the command would stay open
        while _lives(ours):
            if not _lives(parent):
                os.kill(ours, number)
                break
            time.sleep(_PAUSE)
        os._exit(0)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
