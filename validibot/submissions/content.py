"""Storage of the bytes of received files: small ones in their row, large ones in storage.

Types of files are known by extension: the types that clients claim differ from machine to machine.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, BinaryIO, Self

from django.conf import settings
from django.utils import timezone

from validibot.accounts.models import Organisation, Project, User
from validibot.core.storage import ObjectTooLarge, StorageError, get_storage
from validibot.submissions.models import ReceivedFile, Submission, SubmissionFile

OCTETS = "application/octet-stream"

BY_EXTENSION = {
    ".json": "application/json",
    ".epjson": "application/vnd.energyplus.epjson",
    ".jsonld": "application/ld+json",
    ".xml": "application/xml",
    ".rdf": "application/rdf+xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".parquet": "application/vnd.apache.parquet",
    ".txt": "text/plain",
    ".idf": "application/vnd.energyplus.idf",
    ".epw": "application/vnd.energyplus.epw",
    ".ttl": "text/turtle",
    ".nt": "application/n-triples",
    ".nq": "application/n-quads",
    ".fmu": "application/vnd.fmi.fmu",
    ".pdf": "application/pdf",
    ".zip": "application/zip",
}

# For bodies that come without a file name.
_BY_MIME_TYPE = {v: k for k, v in reversed(BY_EXTENSION.items())} | {
    "text/xml": ".xml",
    "text/x-idf": ".idf",
    "text/yaml": ".yaml",
}
# Clients send these when they do not know the type.
_VAGUE = (OCTETS, "text/plain", "application/x-www-form-urlencoded")

HEAD_BYTES = 64 * 1024
_BY_START = (
    (re.compile(rb"PAR1"), ".parquet"),
    (re.compile(rb"PK\x03\x04.{26}(?:\[Content_Types\]|_rels/|xl/)", re.DOTALL), ".xlsx"),
    (re.compile(rb"PK\x03\x04"), ".fmu"),
    (re.compile(rb"%PDF-"), ".pdf"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*<"), ".xml"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*[{\[]"), ".json"),
)
_IDF_LINE = re.compile(rb"\s*(!-|version\s*,)", re.IGNORECASE)


def extension(filename: str) -> str:
    """Return the lower-case extension with its dot, or an empty string."""
    return PurePath(filename).suffix.lower()


def mime_type(filename: str) -> str:
    """Return the MIME type for a file name."""
    return BY_EXTENSION.get(extension(filename), OCTETS)


def default_filename(declared_type: str, head: bytes) -> str:
    """Return a name for content without one, by its declared type or else by its first bytes."""
    known = _BY_MIME_TYPE.get(declared_type, "")
    if not is_exact_type(declared_type):
        known = _sniffed(head) or known
    return "submission" + (known or ".bin")


def is_exact_type(declared_type: str) -> bool:
    """Return whether a declared type tells the type of a file."""
    return declared_type in _BY_MIME_TYPE and declared_type not in _VAGUE


def _sniffed(head: bytes) -> str:
    for pattern, suffix in _BY_START:
        if pattern.match(head):
            return suffix
    return ".idf" if any(map(_IDF_LINE.match, head.splitlines())) else ""


# A submission up to this size is stored in its row: an in-process step needs no storage request.
INLINE_BYTES = 64 * 1024
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A completely received file, hashed and rewound."""

    content: BinaryIO
    filename: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Incoming(IncomingFile):
    """The file to validate, with the sender's name and metadata, and files that it refers to.

    As a context manager it closes the files on exit.
    """

    name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    short_description: str = ""
    scenario: str = ""
    weather: str = ""
    further: tuple[IncomingFile, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self, *self.further):
            file.content.close()

    def fingerprint(self) -> str:
        """Return a digest of everything that the sender chose, to recognise a retry."""
        fields = sorted(self.metadata.items())
        words = [self.filename, self.name, self.short_description, self.scenario]
        told: list[object] = [self.sha256, *words, fields]
        if self.weather:
            told.append(f"weather {self.weather}")
        if self.further:
            told.append([(file.filename, file.sha256) for file in self.further])
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
    """Return the unsaved row of a submission, with those of its files; store large files first.

    This is separate from saving, so that no transaction is open during the upload. If storage fails
    in between, the files that were stored are deleted again.
    """
    submission = Submission(
        organisation=organisation,
        project=project,
        user=user,
        name=incoming.name,
        metadata=incoming.metadata,
        short_description=incoming.short_description,
        further_file_count=len(incoming.further),
        **_received(incoming),
    )
    submission.prepared_files = [
        SubmissionFile(submission=submission, order=order, **_received(file))
        for order, file in enumerate(incoming.further, start=1)
    ]
    try:
        _keep(submission, incoming, f"{folder_of(submission)}content")
        for row, file in zip(submission.prepared_files, incoming.further, strict=True):
            _keep(row, file, f"{folder_of(submission)}files/{row.order}")
    except StorageError:
        with suppress(StorageError):
            discard(submission)
        raise
    return submission


def save(submission: Submission) -> None:
    """Insert the rows of a prepared submission."""
    submission.save(force_insert=True)
    if submission.prepared_files:
        SubmissionFile.objects.bulk_create(submission.prepared_files)


def discard(submission: Submission) -> None:
    """Delete the files of a prepared submission that is not saved."""
    if any(row.uri for row in (submission, *submission.further_files)):
        folder = folder_of(submission)
        get_storage(folder).delete_below(folder)


def remove(submission: Submission) -> None:
    """Remove the content of a submission and of its files; names, sizes and digests stay.

    The files go first: if this is interrupted, it can be repeated. Reading raises ObjectNotFound.
    """
    folder = folder_of(submission)
    get_storage(folder).delete_below(folder)
    rows = {"inline": None, "uri": f"{folder}removed", "storage_version": ""}
    SubmissionFile.objects.filter(submission=submission).update(**rows)
    Submission.objects.filter(pk=submission.pk).update(**rows, content_removed_at=timezone.now())


def folder_of(submission: Submission) -> str:
    """Return the URI of the folder with all files of a submission; it ends with a slash."""
    owner = submission.organisation_id
    return f"{settings.DATA_ROOT}/submissions/{owner}/{submission.id}/"


def _received(file: IncomingFile) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "mime_type": mime_type(file.filename),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
    }


def _keep(row: ReceivedFile, file: IncomingFile, uri: str) -> None:
    """Put the content into the row if it is small, else store it at `uri`."""
    if file.size_bytes <= INLINE_BYTES:
        row.inline = file.content.read()
    else:
        stored = get_storage(uri).create(uri, file.content, mime_type=row.mime_type)
        row.uri, row.storage_version = stored.uri, stored.version


def stream(file: ReceivedFile) -> Iterator[bytes]:
    """Yield the bytes of a received file in chunks."""
    if file.inline is not None:
        yield bytes(file.inline)
    else:
        yield from get_storage(file.uri).stream(file.uri, version=file.storage_version)


def read(file: ReceivedFile, *, limit: int) -> bytes:
    """Return all bytes of a received file. Raises ObjectTooLarge beyond `limit`."""
    if file.size_bytes > limit:
        raise ObjectTooLarge(f"{file.filename} has more than {limit:,} bytes.")
    return b"".join(stream(file))
