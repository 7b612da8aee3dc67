"""Resumable uploads: sessions that survive a restart, fed chunk by chunk.

A session belongs to the caller who began it; its URI is its own credential. Each request says with
`Content-Range` which bytes it brings. Bytes that are already there are skipped, a gap is refused,
and a request that is refused leaves nothing behind. The object is created when the last byte has
arrived: preconditions and permissions are decided then, whatever held at the beginning. The bytes
of a session are one file; its checksums are kept in memory, and computed again from the file when
another process wrote it.

See https://cloud.google.com/storage/docs/performing-resumable-uploads.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO, Self
from weakref import WeakValueDictionary

from devenv.gcp.caller import AccessBoundary, ApiCaller
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.blobs import Blobs, Digest, ReceivedBytes
from devenv.gcp.storage.catalogue import MULTIPART_PREFIX, Catalogue
from devenv.gcp.storage.drafts import ObjectDraft
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.parameters import Preconditions

LIFETIME = 7 * 24 * 3600.0  # a session URI expires after one week
_MIN_CHUNK = 256 * 1024
_MAX_DIGESTS = 1000
_UNBOUNDED = 2**63
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19}|\*)|\*)/(\d{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class UploadSession:
    """An upload in progress and the caller who began it; its file has the same name."""

    id: str
    draft: ObjectDraft
    caller: ApiCaller
    total: int | None = None

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        values = json.loads(text)
        draft: dict[str, Any] = values["draft"]
        draft["conditions"] = Preconditions(**draft["conditions"])
        caller: dict[str, Any] = values["caller"]
        if caller["boundary"]:
            rules = caller["boundary"]["rules"]
            caller["boundary"] = AccessBoundary(tuple((r, tuple(p), c) for r, p, c in rules))
        return cls(values["id"], ObjectDraft(**draft), ApiCaller(**caller), values["total"])


@dataclass(frozen=True, slots=True)
class UploadChunk:
    """The bytes that a request brings: from `start` to before `end` of `total`.

    Without `start` it brings none and asks for the progress; without `end` it brings all that is
    left, which is the form of clients that cannot know better.
    """

    start: int | None
    end: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """The state of a session: `persisted` bytes, and `result` once it is finished."""

    persisted: int
    result: ObjectRecord | None = None


class Uploads:
    """The sessions: begun, fed, finished and cancelled."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, objects: Objects, clock: Clock) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._objects = objects
        self._clock = clock
        self._digests: dict[str, Digest] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def clean(self) -> None:
        """Delete sessions that have expired."""
        self._catalogue.drop_sessions(before=self._clock.now() - LIFETIME)

    def begin(self, access: Access, draft: ObjectDraft, total: int | None) -> UploadSession:
        """Open a session, unless the finished upload would be refused already."""
        self._objects.begin(access, draft)
        session = UploadSession(secrets.token_urlsafe(48), draft, access.caller, total)
        self._catalogue.save_session(session.id, self._clock.now(), session.dump())
        return session

    async def receive(
        self,
        access: Access,
        session_id: str,
        *,
        chunk: UploadChunk,
        body: AsyncIterator[bytes],
        sums: Mapping[str, Any],
    ) -> UploadProgress:
        """Store a chunk with the `access` of the session's owner.

        `sums` are checksums of the whole object, which may come with its last bytes.
        """
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            session, result = self._find(session_id)
            if result:
                return UploadProgress(result.content.size, result)
            digest = await self._digest(session_id)
            session = self._with_total(session, chunk, digest.size)
            if chunk.start is not None:
                await self._append(session, chunk, digest, body)
            session = replace(session, draft=replace(session.draft, **sums))
            return self._progress(access, session, chunk, digest)

    def owner(self, session_id: str) -> ApiCaller:
        """Return the caller who began the session."""
        return self._find(session_id)[0].caller

    def cancel(self, session_id: str) -> None:
        self._find(session_id)
        self._forget(session_id)

    def _find(self, session_id: str) -> tuple[UploadSession, ObjectRecord | None]:
        found = self._catalogue.session(session_id, since=self._clock.now() - LIFETIME)
        if found is None or session_id.startswith(MULTIPART_PREFIX):
            raise NotFound("No such upload session; it may have expired or been cancelled.")
        return UploadSession.load(found[0]), found[1]

    def _with_total(
        self, session: UploadSession, chunk: UploadChunk, persisted: int
    ) -> UploadSession:
        """Return the session with the chunk's total, which cannot change once it is known."""
        if chunk.total is None or chunk.total == session.total:
            return session
        if session.total is not None or chunk.total < persisted:
            raise InvalidArgument(
                f"Invalid request. The total size is {session.total or persisted} bytes or more "
                f"already, but was given as {chunk.total} bytes."
            )
        known = replace(session, total=chunk.total)
        self._catalogue.change_session(session.id, known.dump())
        return known

    async def _digest(self, session_id: str) -> Digest:
        """Return the checksums of the file, computed again if this process did not write it."""
        digest = self._digests.pop(session_id, None)
        if digest is None or digest.size != self._blobs.size(session_id):
            digest = await asyncio.to_thread(self._blobs.digest, session_id)
        return digest

    async def _append(
        self, session: UploadSession, chunk: UploadChunk, digest: Digest, body: AsyncIterator[bytes]
    ) -> None:
        """Write the new bytes of `body`; if they are refused, truncate the file again."""
        before, start = digest.size, chunk.start or 0
        if start > before:
            raise InvalidArgument(
                f"Invalid request. The upload has {before} bytes, but the request begins at "
                f"byte {start}."
            )
        end = min(chunk.end or _UNBOUNDED, _UNBOUNDED if session.total is None else session.total)
        try:
            with self._blobs.append(session.id) as file:
                received = await _write(file, digest, body, skip=before - start, most=end - start)
            _check_granularity(chunk, received)
        except InvalidArgument:
            self._blobs.truncate(session.id, before)
            raise

    def _progress(
        self, access: Access, session: UploadSession, chunk: UploadChunk, digest: Digest
    ) -> UploadProgress:
        whole = chunk.start is not None and chunk.end is None
        if session.total is not None:
            whole = digest.size == session.total
        if not whole:
            if len(self._digests) >= _MAX_DIGESTS:
                self._digests.clear()
            self._digests[session.id] = digest
            return UploadProgress(digest.size)
        return UploadProgress(digest.size, self._finish(access, session, digest))

    def _finish(self, access: Access, session: UploadSession, digest: Digest) -> ObjectRecord:
        """Create the object."""
        if not digest.size:
            self._blobs.append(session.id).close()
        received = ReceivedBytes(digest.content(session.id))
        try:
            with self._objects.change() as displaced:
                self._find(session.id)  # it may have been cancelled, with its file, meanwhile
                result = self._objects.place(access, session.draft, received, displaced)
                self._catalogue.finish_session(session.id, result)
        except Exception:
            self._forget(session.id)
            raise
        return result

    def _forget(self, session_id: str) -> None:
        """Delete the session, and its file unless an object has it."""
        found = self._catalogue.session(session_id)
        self._catalogue.drop_session(session_id)
        self._digests.pop(session_id, None)
        if found and not found[1]:
            self._blobs.delete(session_id)


def parse_content_range(header: str | None) -> UploadChunk:
    """Return the chunk of a Content-Range; without one the body is all that is left."""
    if header is None:
        return UploadChunk(0, None, None)
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if not match:
        raise InvalidArgument("Failed to parse Content-Range header.")
    total = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return UploadChunk(None, None, total)
    start = int(match[1])
    end = None if match[2] == "*" else int(match[2]) + 1
    if (end is not None and end <= start) or (total is not None and (end or start) > total):
        raise InvalidArgument("Failed to parse Content-Range header.")
    return UploadChunk(start, end, total)


async def _write(
    file: BinaryIO, digest: Digest, body: AsyncIterator[bytes], *, skip: int, most: int
) -> int:
    """Append `body` after its first `skip` bytes, which are there; return its whole length."""
    received = 0
    async for data in body:
        received += len(data)
        if received > most:
            raise InvalidArgument("Invalid request. The body is longer than its Content-Range.")
        fresh, skip = data[skip:], max(0, skip - len(data))
        file.write(fresh)
        digest.update(fresh)
    return received


def _check_granularity(chunk: UploadChunk, received: int) -> None:
    final = chunk.end is None or chunk.end == chunk.total
    if not final and received < _MIN_CHUNK:
        raise InvalidArgument(
            "Invalid request. The number of bytes uploaded is required to be equal or greater "
            f"than {_MIN_CHUNK}, except for the final request (it's recommended to be the exact "
            f"multiple of {_MIN_CHUNK}). The received request contained {received} bytes, which "
            "does not meet this requirement."
        )
