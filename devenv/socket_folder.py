"""The folder for Unix sockets, whose paths are short: 103 bytes on macOS, 107 on Linux."""

import os
import tempfile
from pathlib import Path

_LONGEST = 103


def socket_folder(room: int) -> Path:
    """Return the folder of temporary files, or /tmp where less than `room` bytes of a path are left."""
    folder = tempfile.gettempdir()
    is_short = len(os.fsencode(folder)) + room <= _LONGEST
    return Path(folder if is_short else "/tmp")  # noqa: S108 - every system has it
