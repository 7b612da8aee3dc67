"""Client of the debug adapter protocol: attach, stop at a line, evaluate, continue.

https://microsoft.github.io/debug-adapter-protocol/specification
"""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.waiting import until

_TIMEOUT = 60.0

type Message = dict[str, Any]


class Editor:
    """Debugger client that is attached to a debugpy process inside a `with` block."""

    def __init__(self, address: str, *, stop_at: tuple[Path, str]) -> None:
        """Stop before the line of a file that contains a text runs."""
        host, _, port = address.partition(":")
        self._socket = _connect(host, int(port))
        self._stream = self._socket.makefile("rb")
        self._count = 0
        self._source, text = stop_at
        lines = self._source.read_text().splitlines()
        (self._line,) = [number for number, line in enumerate(lines, start=1) if text in line]

    def __enter__(self) -> Self:
        self._send("initialize", adapterID="debugpy", pathFormat="path")
        self._send("attach", justMyCode=False)
        self._until(event="initialized")
        self._stop_at([self._line])
        self._ask("configurationDone")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._send("disconnect", terminateDebuggee=False)
        self._stream.close()
        self._socket.close()

    def value_there(self, expression: str) -> str:
        """Wait for the stop, return the value of the expression, and continue for good.

        Other work may come by at any time, a sweep for example: it would wait for an editor for ever.
        """
        thread = self._until(event="stopped")["body"]["threadId"]
        frame = self._ask("stackTrace", threadId=thread)["body"]["stackFrames"][0]
        assert frame["line"] == self._line
        found = self._ask("evaluate", expression=expression, frameId=frame["id"])
        self._stop_at([])
        self._ask("continue", threadId=thread)
        return str(found["body"]["result"])

    def _stop_at(self, lines: list[int]) -> None:
        breakpoints = [{"line": line} for line in lines]
        self._ask("setBreakpoints", source={"path": str(self._source)}, breakpoints=breakpoints)

    def _ask(self, command: str, **arguments: Any) -> Message:
        self._send(command, **arguments)
        answer = self._until(command=command)
        assert answer["success"], answer
        return answer

    def _send(self, command: str, **arguments: Any) -> None:
        self._count += 1
        message = {"seq": self._count, "type": "request", "command": command}
        body = json.dumps(message | {"arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def _until(self, **wanted: str) -> Message:
        """Return the next message with these values; skip others."""
        while True:
            message = self._receive()
            if wanted.items() <= message.items():
                return message

    def _receive(self) -> Message:
        length = int(self._stream.readline().partition(b":")[2])
        self._stream.readline()
        message: Message = json.loads(self._stream.read(length))
        return message


def _connect(host: str, port: int) -> socket.socket:
    """Connect as soon as the port is open: a job begins some time after its launch."""
    return until(
        lambda: socket.create_connection((host, port), timeout=_TIMEOUT),
        forgive=ConnectionRefusedError,
    )
