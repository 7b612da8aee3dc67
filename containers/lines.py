"""Cuts a stream of bytes into lines, and cuts it off where it becomes too long."""

from collections.abc import Callable

LONGEST = 16_384


class Lines:
    """Calls `on_line` for each line of at most `max_bytes` in all."""

    def __init__(self, on_line: Callable[[str], object], max_bytes: int) -> None:
        self._on_line = on_line
        self._most = max_bytes
        self._left = max_bytes
        self._rest = b""

    def feed(self, data: bytes) -> bool:
        """Take more; return whether there is room for what follows."""
        taken = data[: self._left]
        self._left -= len(taken)
        *lines, self._rest = (self._rest + taken).split(b"\n")
        for line in lines:
            self._show(line)
        if len(self._rest) >= LONGEST:
            self.close()
        if len(taken) == len(data):
            return True
        self.close()
        self._on_line(f"(The log is longer than {self._most} bytes; the rest is left out.)")
        return False

    def close(self) -> None:
        """Show a last line without an end."""
        if self._rest:
            self._show(self._rest)
        self._rest = b""

    def _show(self, line: bytes) -> None:
        text = line.removesuffix(b"\r")
        for at in range(0, max(1, len(text)), LONGEST):
            self._on_line(text[at : at + LONGEST].decode(errors="replace"))
