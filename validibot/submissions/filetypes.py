"""What a file is, told by its name: clients' own guesses differ from machine to machine."""

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
_BY_MIME_TYPE = {
    "application/json": ".json",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "text/csv": ".csv",
    "text/x-idf": ".idf",
    "text/yaml": ".yaml",
    "text/turtle": ".ttl",
    "text/plain": ".txt",
}


def extension(filename: str) -> str:
    """Return the lower-case extension with its dot, or an empty string."""
    return PurePath(filename).suffix.lower()


def mime_type(filename: str) -> str:
    """Return the type that the file's name stands for."""
    return BY_EXTENSION.get(extension(filename), OCTETS)


def default_filename(declared_type: str) -> str:
    """Return a name for content that came with a type only."""
    known = _BY_MIME_TYPE | {v: k for k, v in BY_EXTENSION.items() if v not in _BY_MIME_TYPE}
    return "submission" + known.get(declared_type, ".bin")
