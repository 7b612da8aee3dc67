"""Full resource names of Cloud Run: read them, refuse bad ones, make new ones."""

import re
import secrets
import string
import uuid
from typing import NamedTuple

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound, Unimplemented

_LONGEST_FULL_NAME = 1024
_ALPHABET = string.ascii_lowercase + string.digits

_LOCATION = "projects/*/locations/*"
_SHAPES = {
    "LOCATION": _LOCATION,
    "JOB": f"{_LOCATION}/jobs/*",
    "EXECUTION": f"{_LOCATION}/jobs/*/executions/*",
    "TASK": f"{_LOCATION}/jobs/*/executions/*/tasks/*",
    "OPERATION": f"{_LOCATION}/operations/*",
}
_PATTERNS = {kind: re.compile(shape.replace("*", "[^/]+")) for kind, shape in _SHAPES.items()}


class Name(NamedTuple):
    """A full resource name, its last part and what it names."""

    full: str
    short: str
    kind: str

    @property
    def parent(self) -> str:
        return self.full.rsplit("/", 2)[0]

    def missing(self) -> NotFound:
        """Return the error that Cloud Run gives for a resource that is not there."""
        _, project, _, region, *_ = self.full.split("/")
        return NotFound(
            f"Resource '{self.short}' of kind '{self.kind}' in region '{region}' "
            f"in project '{project}' does not exist."
        )


class Names:
    """The names of one project in one region."""

    def __init__(self, config: CloudConfig) -> None:
        self._project = config.project
        self._number = config.number
        self._region = config.region
        self.location = f"projects/{config.project}/locations/{config.region}"

    def read(self, kind: str, text: str, *, wild: bool = False) -> Name:
        """Return `text` as the name of a `kind`, its project number replaced by the project's id.

        Where it is `wild`, `-` may stand for a job or an execution: any.

        Raises InvalidArgument for another shape, Unimplemented for another region: Google documents
        501 for a regional resource asked of a region that does not have it.
        """
        if len(text) > _LONGEST_FULL_NAME or not _PATTERNS[kind].fullmatch(text):
            raise InvalidArgument(f"Invalid resource name: it must look like '{_SHAPES[kind]}'.")
        parts = text.split("/")
        if "-" in parts and not wild:
            raise InvalidArgument("Invalid resource name: '-' is no name here.")
        if parts[3] != self._region:
            raise Unimplemented("Operation is not implemented, or supported, or enabled.")
        if parts[1] == self._number:
            parts[1] = self._project
        return Name("/".join(parts), parts[-1], kind)

    def job(self, job_id: str) -> Name:
        return Name(f"{self.location}/jobs/{job_id}", job_id, "JOB")

    def new_operation(self) -> str:
        return f"{self.location}/operations/{uuid.uuid4()}"


def new_suffix() -> str:
    """Return the five letters and digits that end an execution's name."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def matches(name: str, parent: str) -> bool:
    """Return whether `name` is below `parent`, where a part `-` of the parent is any."""
    parts, wanted = name.split("/"), parent.split("/")
    return all(want in ("-", part) for part, want in zip(parts, wanted, strict=False))


def fixed_prefix(parent: str) -> str:
    """Return the part of `parent` before its first wildcard, ready to scan for what is below."""
    return f"{parent}/".partition("/-/")[0].rstrip("/") + "/"


def operation_of(uid: str, verb: str, location: str) -> str:
    """Return the name of the operation that does `verb` to the resource with this uid.

    Derived, so that no table must say which operation belongs to which execution.
    """
    return f"{location}/operations/{uuid.uuid5(uuid.UUID(uid), verb)}"
