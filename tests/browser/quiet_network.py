"""Start of Chromium without the kernel's news of networks: `quiet_network.py PROGRAM …`.

Chromium ends requests with ERR_NETWORK_CHANGED when a network appears or goes, as those of containers
do while other tests run. It has no option against it, but it works without a netlink socket, by which
it would be told. A filter of the kernel (seccomp) refuses those to this process and to what it becomes.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

_SOCKET = {"x86_64": 41, "aarch64": 198}  # the number of the system call
_NETLINK = 16
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # of prctl
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of the filter's language
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000


def refuse_netlink() -> None:
    """Let `socket(AF_NETLINK, …)` fail from now on, where the kernel can do so."""
    call = _SOCKET.get(platform.machine())
    if sys.platform != "linux" or call is None:
        return
    steps = [
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_IF_EQUAL, 0, 3, call),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_IF_EQUAL, 0, 1, _NETLINK),
        (_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(text))
    libc = ctypes.CDLL(None)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(_SECCOMP, _FILTER, program, 0, 0)


if __name__ == "__main__":
    refuse_netlink()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - a browser that the tests name
