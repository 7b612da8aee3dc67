"""Places that files are moved from and to: a folder, a bucket of Cloud Storage, a bucket of S3.

All three list and read; writing is left to `validibot.core.storage`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from validators.sdk.storage import StorageError, open_storage
from validators.sdk.storage.file import path_of
from validibot.setup.backup.archive import open_without_links, plain_files
from validibot.setup.moving import MoveError

_CHUNK_BYTES = 1024 * 1024
_ENCRYPTED_ETAG = ("aws:kms", "aws:kms:dsse")


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file of a place: its path below the root, and a tag that changes with its content."""

    path: str
    size_bytes: int
    tag: str


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """The bytes of a file. `md5` is what the place promises of them, empty if it does not."""

    chunks: Iterator[bytes]
    md5: str = ""


class MediaPlace(ABC):
    """Files below one root. Every method may raise MoveError."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    @abstractmethod
    def files(self) -> Iterator[PlacedFile]:
        """Yield all files, in no particular order."""

    @abstractmethod
    def opened(self, file: PlacedFile) -> AbstractContextManager[OpenedFile]:
        """Open a file for reading. Raises MoveError if it has changed since it was listed."""

    def uri(self, path: str) -> str:
        """Return the URI by which rows name a path."""
        return f"{self.root}/{path}"


class FolderPlace(MediaPlace):
    """A folder of this machine. Symbolic links are left out: a validator can make one to any place."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._folder = path_of(self.root)

    def files(self) -> Iterator[PlacedFile]:
        for path in plain_files(self._folder):
            # The purge of an installation in use may remove a file that was just listed.
            with suppress(FileNotFoundError):
                found = path.stat()
                name = path.relative_to(self._folder).as_posix()
                yield PlacedFile(name, found.st_size, f"{found.st_mtime_ns}")

    @contextmanager
    def opened(self, file: PlacedFile) -> Iterator[OpenedFile]:
        with open_without_links(self._folder / file.path) as stream:
            found = os.fstat(stream.fileno())
            if (found.st_size, f"{found.st_mtime_ns}") != (file.size_bytes, file.tag):
                raise MoveError(f"{file.path} has changed since it was listed")
            yield OpenedFile(_chunks(stream))

    def uri(self, path: str) -> str:
        return f"{self.root}/{quote(path)}"


class CloudStoragePlace(MediaPlace):
    """A bucket of Cloud Storage; the tag is the generation."""

    def files(self) -> Iterator[PlacedFile]:
        start = len(self.root) + 1
        for stored in open_storage(self.root).list_below(self.root):
            # Google's console makes objects of this kind for empty folders.
            if not stored.uri.endswith("/"):
                yield PlacedFile(stored.uri[start:], stored.size_bytes, stored.version)

    @contextmanager
    def opened(self, file: PlacedFile) -> Iterator[OpenedFile]:
        uri = self.uri(file.path)
        yield OpenedFile(open_storage(uri).stream(uri, version=file.tag))


class S3Place(MediaPlace):
    """A bucket of S3 or of a store that speaks its protocol; the tag is the ETag.

    boto3 reads its variables itself: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION and, for
    another store than Amazon's, AWS_ENDPOINT_URL_S3
    (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/configuration.html).
    """

    def __init__(self, root: str, *, connections: int) -> None:
        super().__init__(root)
        parts = urlsplit(self.root)
        self._bucket, self._prefix = parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")
        boto3 = _boto3()
        from botocore.config import Config  # noqa: PLC0415 - an extra

        options = Config(max_pool_connections=connections, retries={"mode": "standard"})
        self._client = boto3.client("s3", config=options)

    def files(self) -> Iterator[PlacedFile]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._explained():
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for found in page.get("Contents", []):
                    path = found["Key"].removeprefix(self._prefix)
                    if path and not path.endswith("/"):
                        yield PlacedFile(path, found["Size"], found["ETag"].strip('"'))

    @contextmanager
    def opened(self, file: PlacedFile) -> Iterator[OpenedFile]:
        with self._explained():
            answer = self._client.get_object(
                Bucket=self._bucket, Key=f"{self._prefix}{file.path}", IfMatch=f'"{file.tag}"'
            )
            with closing(answer["Body"]) as body:
                yield OpenedFile(body.iter_chunks(_CHUNK_BYTES), _md5(answer))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise MoveError(f"s3://{self._bucket}: {error}") from error


def place_of(root: str, *, connections: int = 1) -> MediaPlace:
    """Return the place of a URI, or of the path of a folder. Raises MoveError."""
    uri = root if "://" in root else Path(root).absolute().as_uri()
    parts = urlsplit(uri)
    if parts.scheme in ("s3", "gs") and not parts.netloc:
        raise MoveError(f"{root!r} names no bucket. Write {parts.scheme}://BUCKET.")
    match parts.scheme:
        case "s3":
            return S3Place(uri, connections=connections)
        case "gs":
            return CloudStoragePlace(uri)
        case "file":
            try:
                return FolderPlace(uri)
            except StorageError as error:
                raise MoveError(str(error)) from None
    raise MoveError(
        f"Files cannot be moved from {root!r:.200}. Name a folder, s3://BUCKET or gs://BUCKET."
    )


def _boto3() -> ModuleType:
    try:
        import boto3  # noqa: PLC0415 - an extra
    except ImportError:
        raise MoveError(
            "boto3, which reads buckets of S3, is not installed: pip install 'boto3>=1.44'"
        ) from None
    return boto3  # type: ignore[no-any-return]


def _md5(answer: Mapping[str, Any]) -> str:
    """Return the MD5 of an object if its ETag is one.

    The ETag of an object that was uploaded in parts has a dash, and that of one that is encrypted with a
    key of its own is no digest: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    tag = str(answer["ETag"]).strip('"')
    is_encrypted = answer.get("ServerSideEncryption") in _ENCRYPTED_ETAG
    is_digest = len(tag) == 32 and not is_encrypted and "SSECustomerAlgorithm" not in answer
    return tag if is_digest else ""


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk
