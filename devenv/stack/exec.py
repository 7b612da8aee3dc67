"""Child program that dies with its parent and becomes the command it was given (Linux).

`python -I -S exec.py SIGNAL PARENT_PID PROGRAM ARGUMENT...`

Only the process itself can ask for a signal at its parent's death. Between fork and exec Python may
deadlock in a process with threads, so it asks here. Run by path and isolated, it imports nothing of
ours and costs only the start of a bare interpreter; the request survives the exec.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_NOT_EXECUTABLE = 127  # as shells report it


def main(arguments: list[str]) -> None:
    number, parent, *command = arguments
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != int(parent):  # it died before the call
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(_NOT_EXECUTABLE)


if __name__ == "__main__":
    main(sys.argv[1:])
