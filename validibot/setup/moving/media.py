"""Move of all files to this installation's DATA_ROOT: parallel, compared by checksum, resumable.

Nothing at the target is written over. A file that is there already is read and compared, unless the
journal says that this was done.
"""

import hashlib
import mimetypes
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO

from validators.sdk.storage import ObjectExists, StorageError
from validibot.core.models import Deployment
from validibot.core.storage import get_storage
from validibot.runs.models import Run
from validibot.runs.purge import MARKER
from validibot.setup.moving import MoveError
from validibot.setup.moving.journal import MoveJournal
from validibot.setup.moving.places import MediaPlace, PlacedFile

_IN_MEMORY_BYTES = 8 * 1024 * 1024
_SHOWN_FAILURES = 20
# The purge removes no files while the marker names no database: those that arrive have no rows yet.
_MOVING_IN = b"moving-in"
_PUBLIC = "public/"  # see config.settings.media


@dataclass(slots=True)
class MediaReport:
    """Counts of a move. `failures` has the first messages of the files that did not arrive."""

    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.copied + self.present + self.failed

    def add_failure(self, message: str) -> None:
        self.failed += 1
        if len(self.failures) < _SHOWN_FAILURES:
            self.failures.append(message)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """The state of a file after its turn. `error` is empty if it is at the target."""

    file: PlacedFile
    sha256: str = ""
    was_copied: bool = False
    error: str = ""


def files_to_move(place: MediaPlace) -> Iterator[PlacedFile]:
    """Yield the files of a place but public media, which the sweep makes again after the move."""
    return (file for file in place.files() if not file.path.startswith(_PUBLIC))


def totals(place: MediaPlace) -> tuple[int, int]:
    """Return the number of files of a place, and their bytes. Raises MoveError if it has none."""
    count = size = 0
    for file in files_to_move(place):
        count, size = count + 1, size + file.size_bytes
    if not count:
        raise MoveError(f"There are no files below {place.root}. Look at its name and prefix.")
    return count, size


def would_move(source: MediaPlace, target: MediaPlace) -> MediaReport:
    """Return the report of a move that reads and writes no file: those of equal size count as present."""
    report = MediaReport()
    there = _sizes(target)
    for file in files_to_move(source):
        size = there.get(file.path)
        if size is None:
            report.copied += 1
            report.copied_bytes += file.size_bytes
        elif size == file.size_bytes or file.path == MARKER:
            report.present += 1
        else:
            report.add_failure(_conflict(target.uri(file.path)))
    return report


def move_media(
    source: MediaPlace,
    target: MediaPlace,
    journal: MoveJournal,
    *,
    workers: int,
    progress: Callable[[MediaReport], None],
) -> MediaReport:
    """Copy every file that is not at the target; return what was done. Raises MoveError.

    A file that cannot be read or written does not stop the others.
    """
    report = MediaReport()
    _protect_from_purge(source, target)
    there = _sizes(target)

    def wanted() -> Iterator[PlacedFile]:
        for file in files_to_move(source):
            if file.path == MARKER or (
                journal.has(file) and there.get(file.path) == file.size_bytes
            ):
                report.present += 1
                progress(report)
            else:
                yield file

    for arrival in _each(
        lambda file: _arrive(source, target, file, is_there=file.path in there), wanted(), workers
    ):
        if arrival.error:
            report.add_failure(f"{arrival.file.path}: {arrival.error}")
        else:
            journal.add(arrival.file, arrival.sha256)
            report.copied += arrival.was_copied
            report.copied_bytes += arrival.file.size_bytes if arrival.was_copied else 0
            report.present += not arrival.was_copied
        progress(report)
    return report


def _sizes(place: MediaPlace) -> dict[str, int]:
    return {file.path: file.size_bytes for file in place.files()}


def _protect_from_purge(source: MediaPlace, target: MediaPlace) -> None:
    """Let no purge of this installation take the files that arrive for orphans. Raises MoveError."""
    uri = target.uri(MARKER)
    storage = get_storage(uri)
    marker = _marker(source)
    found = storage.read(uri, limit=100) if storage.current(uri) else None
    if found == marker:  # a repeated move, or one back to where the source came from
        return
    own = Deployment.objects.filter(id=1).first()
    if found and own and found.decode(errors="replace").strip() == str(own.database_id):
        if Run.objects.exists():
            raise MoveError(
                f"{target.root} has the files of this installation, which has runs: two installations"
                " cannot be merged. Move into one without runs."
            )
        storage.delete(uri)
        found = None
    if found is None:
        storage.create(uri, marker, mime_type="text/plain")


def _marker(source: MediaPlace) -> bytes:
    """Return the name of the database that the files of the source belong to, as its purge wrote it."""
    marker = next((file for file in source.files() if file.path == MARKER), None)
    if marker is None:
        return _MOVING_IN
    with source.opened(marker) as opened:
        return b"".join(opened.chunks)


def _each(
    work: Callable[[PlacedFile], _Arrival], files: Iterable[PlacedFile], workers: int
) -> Iterator[_Arrival]:
    """Yield the results of `work` in order; a million files never wait in the executor at once."""
    waiting: deque[Future[_Arrival]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="move")
    try:
        for file in files:
            waiting.append(pool.submit(work, file))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _arrive(
    source: MediaPlace, target: MediaPlace, file: PlacedFile, *, is_there: bool
) -> _Arrival:
    """Bring one file to the target, or compare it with the one that is there."""
    uri = target.uri(file.path)
    try:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as copy:
            sha256 = _fetch(source, file, copy)
            if not is_there:
                is_there = not _create(uri, copy, file.path)
        if is_there and _digest(uri) != sha256:
            return _Arrival(file, error=_conflict(uri))
    except (MoveError, StorageError, OSError) as error:
        return _Arrival(file, error=str(error).rstrip("."))
    return _Arrival(file, sha256, was_copied=not is_there)


def _fetch(source: MediaPlace, file: PlacedFile, copy: IO[bytes]) -> str:
    """Write a file of the source to `copy`; return its SHA-256. Raises MoveError, StorageError, OSError."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0
    with source.opened(file) as opened:
        for chunk in opened.chunks:
            sha256.update(chunk)
            md5.update(chunk)
            size += copy.write(chunk)
        if size != file.size_bytes or opened.md5 not in ("", md5.hexdigest()):
            raise MoveError("the bytes that arrived are not those that were promised")
    copy.seek(0)
    return sha256.hexdigest()


def _create(uri: str, content: IO[bytes], name: str) -> bool:
    """Write a new object, whose checksum the storage compares; return False if there is one already."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    try:
        get_storage(uri).create(uri, content, mime_type=kind)  # type: ignore[arg-type] # a spooled file is a binary file
    except ObjectExists:
        return False
    return True


def _digest(uri: str) -> str:
    digest = hashlib.sha256()
    stream = get_storage(uri).stream(uri)
    with closing(stream):  # type: ignore[type-var] # every implementation is a generator
        for chunk in stream:
            digest.update(chunk)
    return digest.hexdigest()


def _conflict(uri: str) -> str:
    return f"{uri} is there with other content; delete the wrong one, then repeat the move"
