"""Errors that only Cloud Storage has, and the shapes in which its two APIs report any error.

CloudError
├── NotEmulated          400  invalid              (XML: InvalidArgument)
├── UniformAccess        400  invalid              (XML: InvalidArgument)
├── PreconditionFailed   412  conditionNotMet
├── PublicAccessPrevented  412  conditionNotMet
├── NotModified          304
├── RangeNotSatisfiable  416  requestedRangeNotSatisfiable
├── TooLarge             413  uploadTooLarge
├── MethodNotAllowed     405  methodNotAllowed
├── ExpiredToken         400  invalid              (XML: ExpiredToken)
├── AnonymousRefused     401  authError            (XML: 403 AccessDenied)
├── PermissionRefused    403  forbidden            (XML: AccessDenied)
├── MalformedSecurityHeader  400  invalid          (XML: MalformedSecurityHeader)
├── Retained             403  retentionPolicyNotMet  (XML: RetentionPolicyNotMet)
├── Held                 403  forbidden            (XML: ObjectUnderActiveHold)
├── RequestTimeTooSkewed  403  forbidden           (XML: RequestTimeTooSkewed)
├── InvalidSecurity      403  forbidden            (XML: InvalidSecurity)
└── SignatureMismatch    403  forbidden            (XML: SignatureDoesNotMatch)

Shapes after https://cloud.google.com/storage/docs/json_api/v1/status-codes and
https://cloud.google.com/storage/docs/xml-api/reference-status.
"""

import json
import re
from typing import Any, ClassVar
from xml.sax.saxutils import escape

from starlette.responses import Response

from devenv.gcp.errors import (
    CloudError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)

_REASONS = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    405: "methodNotAllowed",
    409: "conflict",
    412: "conditionNotMet",
    413: "uploadTooLarge",
    416: "requestedRangeNotSatisfiable",
    429: "rateLimitExceeded",
}
_XML_CODES = {
    400: "InvalidArgument",
    401: "AuthenticationRequired",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    409: "OperationAborted",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    416: "InvalidRange",
}
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOCATIONS = {401: "Authorization", 412: "If-Match", 416: "Range"}


class StorageApiError(CloudError):
    """Base class; `xml_code` is the XML API's name where the HTTP status does not imply it."""

    code, status = 9, "FAILED_PRECONDITION"
    xml_code: ClassVar[str] = ""


class NotEmulated(InvalidArgument):
    """A refusal of what the emulator does not do.

    The status is 400 because clients retry 501 like any other 5xx.
    """

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject} is not emulated; see docs/fidelity.md.")


class UniformAccess(InvalidArgument):
    """A refusal of access control lists where the bucket has uniform access."""

    def __init__(self, action: str = "insert", kind: str = "an object") -> None:
        super().__init__(
            f"Cannot {action} legacy ACL for {kind} when uniform bucket-level access is enabled. "
            "Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
        )


class PublicAccessPrevented(StorageApiError):
    """A refusal of a public entity where the bucket enforces public access prevention."""

    http = 412

    def __init__(self) -> None:
        super().__init__(
            "The member bindings allUsers and allAuthenticatedUsers are not allowed since public "
            "access prevention is enforced."
        )


class PreconditionFailed(StorageApiError):
    http = 412

    def __init__(self) -> None:
        super().__init__("At least one of the pre-conditions you specified did not hold.")


class NotModified(StorageApiError):
    http = 304

    def __init__(self) -> None:
        super().__init__("Not Modified")


class RangeNotSatisfiable(StorageApiError):
    http = 416

    def __init__(self, size: int) -> None:
        super().__init__("Request range not satisfiable")
        self.size = size


class TooLarge(StorageApiError):
    http = 413


class MethodNotAllowed(StorageApiError):
    http = 405


class NoSuchBucket(NotFound):
    xml_code: ClassVar[str] = "NoSuchBucket"

    def __init__(self) -> None:
        super().__init__("The specified bucket does not exist.")


class NoSuchUpload(NotFound):
    xml_code: ClassVar[str] = "NoSuchUpload"

    def __init__(self) -> None:
        super().__init__("The requested upload was not found; it may have been aborted.")


class UploadProblem(StorageApiError):
    """Bytes, parts or a form that an upload of the XML API cannot take; `code` is Google's name."""

    http = 400

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.upload_code = code


class PermissionRefused(PermissionDenied):
    """A refusal of a caller who has not the permission; the XML API tells it in `Details`."""


class AnonymousRefused(Unauthenticated):
    """The same for a caller without a token, for which the JSON API wants one."""


class ExpiredToken(StorageApiError):
    http, xml_code = 400, "ExpiredToken"


class MalformedSecurityHeader(StorageApiError):
    http, xml_code = 400, "MalformedSecurityHeader"


class Retained(PermissionDenied):
    """A refusal because of the bucket's retention policy."""

    reason, xml_code = "retentionPolicyNotMet", "RetentionPolicyNotMet"


class Held(PermissionDenied):
    """A refusal because of a hold. The JSON API has no reason of its own for it."""

    xml_code = "ObjectUnderActiveHold"


class RequestTimeTooSkewed(StorageApiError):
    http, xml_code = 403, "RequestTimeTooSkewed"


class InvalidSecurity(StorageApiError):
    http, xml_code = 403, "InvalidSecurity"


class SignatureMismatch(StorageApiError):
    http, xml_code = 403, "SignatureDoesNotMatch"


def xml_text(text: str) -> str:
    """Return escaped text for XML, which has no form for most control characters: they become U+FFFD."""
    return escape(NOT_IN_XML.sub("\ufffd", text))


def as_json(error: CloudError) -> Response:
    """Return `error` in the shape of the JSON API."""
    if error.http == 304:
        return Response(status_code=304)
    item: dict[str, Any] = {
        "message": error.message,
        "domain": "global",
        "reason": error.reason or _REASONS.get(error.http, "backendError"),
    }
    if location := _LOCATIONS.get(error.http):
        item |= {"locationType": "header", "location": location}
    body = {"error": {"code": error.http, "message": error.message, "errors": [item]}}
    return Response(
        json.dumps(body),
        status_code=error.http,
        headers=_headers(error),
        media_type="application/json; charset=UTF-8",
    )


def as_xml(error: CloudError) -> Response:
    """Return `error` in the shape of the XML API."""
    if error.http == 304:
        return Response(status_code=304)
    if isinstance(error, AnonymousRefused):
        return as_xml(PermissionRefused(error.message))
    own = getattr(error, "upload_code", "") or getattr(error, "xml_code", "")
    code = own or _XML_CODES.get(error.http, "InternalError")
    message = f"<Message>{xml_text(error.message)}</Message>"
    if isinstance(error, PermissionRefused):
        message = f"<Message>Access denied.</Message><Details>{xml_text(error.message)}</Details>"
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>{message}</Error>"
    return Response(
        body.encode("utf-8", "replace"),
        status_code=error.http,
        headers=_headers(error),
        media_type="application/xml; charset=UTF-8",
    )


def _headers(error: CloudError) -> dict[str, str]:
    if isinstance(error, RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    if error.http == 401:
        return {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'}
    return {}
