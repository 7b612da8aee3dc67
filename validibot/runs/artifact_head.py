"""The beginning of an artifact: what previews and reports read of a file of any size."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from validibot.core.storage import get_storage
from validibot.runs.models import Artifact

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class FileHead:
    """The beginning of a file, unpacked; `is_whole` tells whether that is all."""

    content: bytes
    is_whole: bool

    @property
    def is_text(self) -> bool:
        return b"\0" not in self.content[:_CHUNK_BYTES]

    @property
    def text(self) -> str:
        return self.content.decode("utf-8-sig", "replace")

    def lines(self) -> list[str]:
        """Return the lines; the last one only if it is complete."""
        lines = self.text.splitlines(keepends=True)
        return lines if self.is_whole else lines[:-1]


def read_head(artifact: Artifact, limit: int) -> FileHead:
    """Return the first `limit` bytes of an artifact. Raises ObjectNotFound when it is gone."""
    chunks = get_storage(artifact.uri).stream(artifact.uri, version=artifact.storage_version)
    unpacked = _unpacked(chunks) if artifact.name.endswith(".gz") else chunks
    content = bytearray()
    try:
        for chunk in unpacked:
            content += chunk
            if len(content) > limit:
                return FileHead(bytes(content[:limit]), is_whole=False)
    except zlib.error:
        return FileHead(bytes(content), is_whole=False)
    return FileHead(bytes(content), is_whole=True)


def _unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what gzip has packed, in bounded parts."""
    unpacker = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        yield unpacker.decompress(chunk, _CHUNK_BYTES)
        while unpacker.unconsumed_tail:
            yield unpacker.decompress(unpacker.unconsumed_tail, _CHUNK_BYTES)
