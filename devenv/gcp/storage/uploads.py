"""Resumable uploads: sessions that survive a restart, and how their chunks are put together.

After https://cloud.google.com/storage/docs/performing-resumable-uploads.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO, Self
from weakref import WeakValueDictionary

from devenv.gcp.caller import AccessBoundary, Caller
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.blobs import Blobs, Digest
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.conditions import Preconditions
from devenv.gcp.storage.model import Object
from devenv.gcp.storage.objects import Draft, Objects
from devenv.gcp.storage.ranges import Chunk

LIFETIME = 7 * 24 * 3600.0  # a session URI expires after one week
_SMALLEST = 256 * 1024
_MOST_DIGESTS = 1000
_ENDLESS = 2**63


@dataclass(frozen=True, slots=True)
class Session:
    """An upload in progress, for the caller who began it. Its file on disk has the same name."""

    id: str
    draft: Draft
    caller: Caller
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
        return cls(values["id"], Draft(**draft), Caller(**caller), values["total"])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a session is: `persisted` bytes, and `result` once it is finished."""

    persisted: int
    result: Object | None = None


class Uploads:
    """Begins, feeds, finishes and cancels sessions."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, objects: Objects, clock: Clock) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._objects = objects
        self._clock = clock
        self._digests: dict[str, Digest] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def clean(self) -> None:
        """Forget sessions that have expired."""
        self._catalogue.drop_sessions(before=self._clock.now() - LIFETIME)

    def begin(self, access: Access, draft: Draft, total: int | None) -> Session:
        """Open a session; what is refused now already would be refused at its end."""
        self._objects.begin(access, draft)
        session = Session(secrets.token_urlsafe(48), draft, access.caller, total)
        self._catalogue.save_session(session.id, self._clock.now(), session.dump())
        return session

    async def receive(
        self,
        access: Access,
        session_id: str,
        *,
        chunk: Chunk,
        body: AsyncIterator[bytes],
        sums: Mapping[str, Any],
    ) -> Progress:
        """Take what a request brings; `access` is that of the session's owner.

        `sums` are checksums of the whole object that may come with its last bytes.
        """
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            session, result = self._find(session_id)
            if result:
                return Progress(result.content.size, result)
            digest = await self._digest(session_id)
            session = self._with_total(session, chunk, digest.size)
            if chunk.start is not None:
                await self._append(session, chunk, digest, body)
            session = replace(session, draft=replace(session.draft, **sums))
            return self._progress(access, session, chunk, digest)

    def owner(self, session_id: str) -> Caller:
        """Return in whose name the object will be written."""
        return self._find(session_id)[0].caller

    def cancel(self, session_id: str) -> None:
        self._find(session_id)
        self._forget(session_id)

    def _find(self, session_id: str) -> tuple[Session, Object | None]:
        found = self._catalogue.session(session_id)
        if found is None:
            raise NotFound("No such upload session; it may have expired or been cancelled.")
        return Session.load(found[0]), found[1]

    def _with_total(self, session: Session, chunk: Chunk, persisted: int) -> Session:
        """Remember the total once it is named; after that it cannot change."""
        if chunk.total is None or chunk.total == session.total:
            return session
        if session.total is not None or chunk.total < persisted:
            raise InvalidArgument(
                f"Invalid request. The total size is {session.total or persisted} bytes or more "
                f"already, but was given as {chunk.total} bytes."
            )
        known = replace(session, total=chunk.total)
        self._catalogue.save_session(session.id, self._clock.now(), known.dump())
        return known

    async def _digest(self, session_id: str) -> Digest:
        """Return the checksums of what is on disk, read again if this process did not write it."""
        digest = self._digests.pop(session_id, None)
        if digest is None or digest.size != self._blobs.size(session_id):
            digest = await asyncio.to_thread(self._blobs.digest, session_id)
        return digest

    async def _append(
        self, session: Session, chunk: Chunk, digest: Digest, body: AsyncIterator[bytes]
    ) -> None:
        """Write what is new of `body`; a request that is refused leaves nothing behind."""
        before, start = digest.size, chunk.start or 0
        if start > before:
            raise InvalidArgument(
                f"Invalid request. The upload has {before} bytes, but the request begins at "
                f"byte {start}."
            )
        end = min(chunk.end or _ENDLESS, _ENDLESS if session.total is None else session.total)
        try:
            with self._blobs.append(session.id) as file:
                received = await _write(file, digest, body, skip=before - start, most=end - start)
            _check_granularity(chunk, received)
        except InvalidArgument:
            self._blobs.truncate(session.id, before)
            raise

    def _progress(self, access: Access, session: Session, chunk: Chunk, digest: Digest) -> Progress:
        whole = chunk.start is not None and chunk.end is None
        if session.total is not None:
            whole = digest.size == session.total
        if not whole:
            if len(self._digests) >= _MOST_DIGESTS:
                self._digests.clear()
            self._digests[session.id] = digest
            return Progress(digest.size)
        return Progress(digest.size, self._finish(access, session, digest))

    def _finish(self, access: Access, session: Session, digest: Digest) -> Object:
        """Make the object: preconditions are decided now, whatever held at the beginning."""
        if not digest.size:
            self._blobs.append(session.id).close()
        content = digest.content(session.id)
        try:
            with self._objects.change() as displaced:
                result = self._objects.place(access, session.draft, content, displaced)
                self._catalogue.finish_session(session.id, result)
        except Exception:
            self._forget(session.id)
            raise
        return result

    def _forget(self, session_id: str) -> None:
        """A session whose object exists leaves the file to it."""
        found = self._catalogue.session(session_id)
        self._catalogue.drop_session(session_id)
        self._digests.pop(session_id, None)
        if found and not found[1]:
            self._blobs.delete(session_id)


async def _write(
    file: BinaryIO, digest: Digest, body: AsyncIterator[bytes], *, skip: int, most: int
) -> int:
    """Append `body` but for its first `skip` bytes, persisted before; return its length."""
    received = 0
    async for data in body:
        received += len(data)
        if received > most:
            raise InvalidArgument("Invalid request. The body is longer than its Content-Range.")
        fresh, skip = data[skip:], max(0, skip - len(data))
        file.write(fresh)
        digest.update(fresh)
    return received


def _check_granularity(chunk: Chunk, received: int) -> None:
    final = chunk.end is None or chunk.end == chunk.total
    if not final and received < _SMALLEST:
        raise InvalidArgument(
            "Invalid request. The number of bytes uploaded is required to be equal or greater "
            f"than {_SMALLEST}, except for the final request (it's recommended to be the exact "
            f"multiple of {_SMALLEST}). The received request contained {received} bytes, which "
            "does not meet this requirement."
        )
