"""File types by extension: the types that clients claim differ from machine to machine."""

import re
from pathlib import PurePath

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
    if not known or declared_type in _VAGUE:
        known = _sniffed(head) or known
    return "submission" + (known or ".bin")


def _sniffed(head: bytes) -> str:
    for pattern, suffix in _BY_START:
        if pattern.match(head):
            return suffix
    return ".idf" if any(map(_IDF_LINE.match, head.splitlines())) else ""
