"""Errors as Google's APIs report them: one class per canonical code.

CloudError
├── InvalidArgument     400  INVALID_ARGUMENT
├── FailedPrecondition  400  FAILED_PRECONDITION
├── OutOfRange          400  OUT_OF_RANGE
├── Unauthenticated     401  UNAUTHENTICATED
├── PermissionDenied    403  PERMISSION_DENIED
├── NotFound            404  NOT_FOUND
├── AlreadyExists       409  ALREADY_EXISTS
├── Aborted             409  ABORTED
├── ResourceExhausted   429  RESOURCE_EXHAUSTED
├── Internal            500  INTERNAL
├── Unimplemented       501  UNIMPLEMENTED
├── Unavailable         503  UNAVAILABLE
└── DeadlineExceeded    504  DEADLINE_EXCEEDED

The numbers are google.rpc.Code and its documented HTTP mapping.
"""

import errno
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from google.rpc import error_details_pb2

log = logging.getLogger(__name__)


class CloudError(Exception):
    """Do not raise directly. `details` are google.rpc messages (Help, ErrorInfo, …).

    `reason` is that of the list `errors` of older APIs, where it does not follow from the class.
    """

    code: ClassVar[int] = 2
    http: ClassVar[int] = 500
    status: ClassVar[str] = "UNKNOWN"
    reason: str = ""

    def __init__(self, message: str, details: tuple[Any, ...] = (), *, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if reason:
            self.reason = reason


class InvalidArgument(CloudError):
    code, http, status = 3, 400, "INVALID_ARGUMENT"


class DeadlineExceeded(CloudError):
    code, http, status = 4, 504, "DEADLINE_EXCEEDED"


class NotFound(CloudError):
    code, http, status = 5, 404, "NOT_FOUND"


class AlreadyExists(CloudError):
    code, http, status = 6, 409, "ALREADY_EXISTS"


class PermissionDenied(CloudError):
    code, http, status = 7, 403, "PERMISSION_DENIED"


class ResourceExhausted(CloudError):
    code, http, status = 8, 429, "RESOURCE_EXHAUSTED"


class FailedPrecondition(CloudError):
    code, http, status = 9, 400, "FAILED_PRECONDITION"


class Aborted(CloudError):
    code, http, status = 10, 409, "ABORTED"


class OutOfRange(CloudError):
    code, http, status = 11, 400, "OUT_OF_RANGE"


class Unimplemented(CloudError):
    code, http, status = 12, 501, "UNIMPLEMENTED"


class Internal(CloudError):
    code, http, status = 13, 500, "INTERNAL"


class Unavailable(CloudError):
    code, http, status = 14, 503, "UNAVAILABLE"


class Unauthenticated(CloudError):
    code, http, status = 16, 401, "UNAUTHENTICATED"


_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_FULL_DISK = (
    "The disk of this machine is full, so nothing was changed. Free some space (`df -h` shows where "
    "there is some), then send the request again."
)


def full_disk(error: BaseException) -> ResourceExhausted | None:
    """Return the answer to a request that failed with `error` because the disk is full, else None."""
    code = getattr(error, "sqlite_errorcode", None)
    is_full = code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in _FULL)
    return ResourceExhausted(_FULL_DISK) if is_full else None


@contextmanager
def refuse_on_full_disk(method: str) -> Iterator[None]:
    """Raise ResourceExhausted, with one line in the log, where what is inside finds the disk full."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if refusal := full_disk(error):
            log.error("%s failed, for the disk of this machine is full: %s", method, error)  # noqa: TRY400
            raise refusal from error
        raise


def wrong_project(project: str, service: str) -> PermissionDenied:
    """Return the refusal of a project that is not the emulated one, as Google words it."""
    text = f"Permission denied on resource project {project}."
    console = error_details_pb2.Help.Link(
        description="Google developers console", url="https://console.developers.google.com"
    )
    info = error_details_pb2.ErrorInfo(
        reason="CONSUMER_INVALID",
        domain="googleapis.com",
        metadata={
            "consumer": f"projects/{project}",
            "containerInfo": project,
            "service": service,
        },
    )
    message = error_details_pb2.LocalizedMessage(locale="en-US", message=text)
    return PermissionDenied(text, (info, message, error_details_pb2.Help(links=[console])))
