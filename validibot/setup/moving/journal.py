"""Journal of a move of files: what was copied and compared, so that a repeated move reads no file twice."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from validibot.setup.moving import MoveError
from validibot.setup.moving.places import PlacedFile


class MoveJournal:
    """Lines of JSON: first the two places, then each file that is at the target with its SHA-256.

    A line is written when its file is there, so that a killed move loses no more than its last lines.
    """

    def __init__(self, path: Path, *, source: str, target: str) -> None:
        self._path = path
        self._places = {"from": source, "to": target}
        self._done: dict[str, tuple[int, str]] = {}
        self._file: IO[str] | None = None
        self._is_new = not path.exists() or self._was_killed_at_its_start()
        if not self._is_new:
            self._read()

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("w" if self._is_new else "a", encoding="utf-8")
        except OSError as error:
            raise MoveError(
                f"The journal {self._path} cannot be written ({error.strerror}). Name another file with"
                " --journal."
            ) from None
        # A line that a killed move left unfinished must not swallow the next one.
        self._write(self._places) if self._is_new else self._file.write("\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    def has(self, file: PlacedFile) -> bool:
        """Return whether this very file was moved: it has the size and the tag of then."""
        return self._done.get(file.path) == (file.size_bytes, file.tag)

    def add(self, file: PlacedFile, sha256: str) -> None:
        self._done[file.path] = (file.size_bytes, file.tag)
        line = {"path": file.path, "size": file.size_bytes, "tag": file.tag, "sha256": sha256}
        self._write(line)

    def _write(self, line: Mapping[str, object]) -> None:
        assert self._file is not None
        self._file.write(f"{json.dumps(line)}\n")
        self._file.flush()

    def _was_killed_at_its_start(self) -> bool:
        """Return whether the file has the beginning of our first line only: nothing was copied yet."""
        with self._path.open("rb") as file:
            return f"{json.dumps(self._places)}\n".encode().startswith(file.readline()) and (
                not file.read(1)
            )

    def _read(self) -> None:
        lines = self._lines()
        if next(lines, None) != self._places:
            raise MoveError(
                f"{self._path} is not the journal of a move from {self._places['from']} to"
                f" {self._places['to']}. Name another file with --journal."
            )
        for line in lines:
            with suppress(KeyError):
                self._done[line["path"]] = (line["size"], line["tag"])

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that can be read."""
        with self._path.open(encoding="utf-8") as file:
            for text in file:
                with suppress(ValueError):
                    if isinstance(line := json.loads(text), dict):
                        yield line
