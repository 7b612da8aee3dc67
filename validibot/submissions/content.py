"""Storage of the bytes of submissions: small ones in their row, large ones in storage."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from django.conf import settings

from validibot.accounts.models import Organisation, Project, User
from validibot.core.storage import ObjectTooLarge, get_storage
from validibot.submissions.filetypes import mime_type
from validibot.submissions.models import Submission

# A submission up to this size is stored in its row: an in-process step needs no storage request.
INLINE_BYTES = 64 * 1024
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Incoming:
    """A completely received file, hashed and rewound, with the sender's name and metadata.

    As a context manager it closes the file on exit.
    """

    content: BinaryIO
    filename: str
    size_bytes: int
    sha256: str
    name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    short_description: str = ""
    scenario: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.content.close()

    def fingerprint(self) -> str:
        """Return a digest of everything that the sender chose, to recognise a retry."""
        fields = sorted(self.metadata.items())
        words = [self.filename, self.name, self.short_description, self.scenario]
        told = [self.sha256, *words, fields]
        return hashlib.sha256(repr(told).encode()).hexdigest()


def measure(content: BinaryIO) -> tuple[int, str]:
    """Return (size, SHA-256 in hex) of a seekable stream, and rewind it."""
    content.seek(0)
    digest = hashlib.sha256()
    size = 0
    while chunk := content.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    content.seek(0)
    return size, digest.hexdigest()


def prepare(
    incoming: Incoming, *, organisation: Organisation, project: Project | None, user: User | None
) -> Submission:
    """Return the unsaved row of a submission; store a large file first.

    This is separate from saving, so that no transaction is open during the upload.
    """
    submission = Submission(
        organisation=organisation,
        project=project,
        user=user,
        filename=incoming.filename,
        mime_type=mime_type(incoming.filename),
        size_bytes=incoming.size_bytes,
        sha256=incoming.sha256,
        name=incoming.name,
        metadata=incoming.metadata,
        short_description=incoming.short_description,
    )
    if incoming.size_bytes <= INLINE_BYTES:
        submission.inline = incoming.content.read()
    else:
        uri = f"{_folder(submission)}/content"
        stored = get_storage(uri).create(uri, incoming.content, mime_type=submission.mime_type)
        submission.uri, submission.storage_version = stored.uri, stored.version
    return submission


def discard(submission: Submission) -> None:
    """Delete the file of a prepared submission that is not saved."""
    if submission.uri:
        get_storage(submission.uri).delete_below(f"{_folder(submission)}/")


def _folder(submission: Submission) -> str:
    return f"{settings.DATA_ROOT}/submissions/{submission.organisation_id}/{submission.id}"


def stream(submission: Submission) -> Iterator[bytes]:
    """Yield the bytes of a submission in chunks."""
    if submission.inline is not None:
        yield bytes(submission.inline)
    else:
        storage = get_storage(submission.uri)
        yield from storage.stream(submission.uri, version=submission.storage_version)


def read(submission: Submission, *, limit: int) -> bytes:
    """Return all bytes of a submission. Raises ObjectTooLarge beyond `limit`."""
    if submission.size_bytes > limit:
        raise ObjectTooLarge(f"{submission.filename} has more than {limit:,} bytes.")
    return b"".join(stream(submission))
