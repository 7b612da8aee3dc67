"""Progress bar on standard error: one line that is drawn again, or a few lines without a terminal."""

import time
from collections.abc import Callable
from typing import TextIO

_WIDTH = 30
_EVERY_SECONDS = 0.2
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class ProgressBar:
    """A bar over `total` steps. Without a terminal each tenth of them is a line."""

    def __init__(
        self, stream: TextIO, total: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._total = max(total, 1)
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._drawn_at = float("-inf")
        self._tenth = -1

    def show(self, done: int, text: str) -> None:
        part = min(done / self._total, 1.0)
        if self._is_terminal:
            now = self._clock()
            if now - self._drawn_at >= _EVERY_SECONDS or done >= self._total:
                self._drawn_at = now
                bar = "#" * int(part * _WIDTH)
                self._stream.write(f"\r[{bar:<{_WIDTH}}] {part:4.0%}  {text}\x1b[K")
                self._stream.flush()
        elif int(part * 10) > self._tenth:
            self._tenth = int(part * 10)
            self._stream.write(f"{part:4.0%}  {text}\n")

    def close(self) -> None:
        if self._is_terminal:
            self._stream.write("\n")


def size_text(size: float) -> str:
    """Return a number of bytes in the unit that suits it, such as `1.4 GiB`."""
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
