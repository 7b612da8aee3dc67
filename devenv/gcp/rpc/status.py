"""Errors on the wire: google.rpc.Status for gRPC, Google's JSON envelope for REST."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as PackedAny
from google.rpc.status_pb2 import Status

from devenv.gcp.errors import CloudError


def status(error: CloudError) -> Status:
    """Return `error` as google.rpc.Status with its details packed."""
    return Status(code=error.code, message=error.message, details=_packed(error))


def envelope(error: CloudError) -> dict[str, Any]:
    """Return `error` as Google's REST APIs word it: `{"error": {code, message, status, details}}`."""
    body: dict[str, Any] = {"code": error.http, "message": error.message, "status": error.status}
    if error.details:
        body["details"] = [json_format.MessageToDict(detail) for detail in _packed(error)]
    return {"error": body}


def _packed(error: CloudError) -> list[PackedAny]:
    details = []
    for detail in error.details:
        packed = PackedAny()
        packed.Pack(detail)
        details.append(packed)
    return details
