"""Where in a JSON text the value at a path stands, found only when there is something to say."""

import json
from collections.abc import Callable, Sequence

from validibot.engines.json_text import line_and_column

_BLANKS = " \t\r\n"
_read_value = json.JSONDecoder().raw_decode


class Positions:
    """Finds values in a text that is known to be JSON. Each object and list is read once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._children: dict[int, dict[str | int, int]] = {}

    def of(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Return line and column, both from 1, of the value at `path` or its nearest parent."""
        offset = self._skip(0)
        for key in path:
            if offset not in self._children:
                self._children[offset] = self._read_children(offset)
            child = self._children[offset].get(key)
            if child is None:
                break
            offset = child
        return line_and_column(self._text, offset)

    def _read_children(self, offset: int) -> dict[str | int, int]:
        match self._text[offset]:
            case "{":
                read_key: Callable[[int, int], tuple[str | int, int]] = self._read_name
            case "[":
                read_key = self._read_index
            case _:
                return {}
        return self._read_members(offset, read_key)

    def _read_members(
        self, offset: int, read_key: Callable[[int, int], tuple[str | int, int]]
    ) -> dict[str | int, int]:
        found: dict[str | int, int] = {}
        offset = self._skip(offset + 1)
        while self._text[offset] not in "]}":
            key, offset = read_key(len(found), offset)
            found[key] = offset
            _, end = _read_value(self._text, offset)
            offset = self._skip(end)
            if self._text[offset] == ",":
                offset = self._skip(offset + 1)
        return found

    def _read_name(self, index: int, offset: int) -> tuple[str, int]:
        name, end = _read_value(self._text, offset)
        return name, self._skip(self._skip(end) + 1)

    def _read_index(self, index: int, offset: int) -> tuple[int, int]:
        return index, offset

    def _skip(self, offset: int) -> int:
        text = self._text
        while text[offset] in _BLANKS:
            offset += 1
        return offset
