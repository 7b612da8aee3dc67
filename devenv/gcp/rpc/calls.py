"""Around every method: authentication, one log line, and errors in Google's form for both protocols."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from devenv.gcp.caller import ApiCall, Authenticator
from devenv.gcp.errors import CloudError, Internal, InvalidArgument
from devenv.gcp.rpc import Rpc

journal = logging.getLogger("devenv.gcp.requests")
log = logging.getLogger(__name__)


class Calls:
    """Authenticates a request, has it handled, and writes one line about it."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def run(
        self, rpc: Rpc, headers: Mapping[str, str], read: Callable[[], Message]
    ) -> Message:
        """Return the answer of `rpc` to the request that `read` parses. Raises CloudError only."""
        start = perf_counter()
        status, email = "OK", ""
        try:
            caller = self._authenticator.caller(headers)
            email = caller.email
            return await rpc.handle(read(), ApiCall(caller, headers))
        except CloudError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except DecodeError as error:
            status = InvalidArgument.status
            raise InvalidArgument("The request is not a valid protocol buffer.") from error
        except Exception as error:
            status = Internal.status
            log.exception("%s broke", rpc.method)
            raise Internal("Internal error encountered.") from error
        finally:
            record(*names(rpc.method), caller=email, status=status, start=start)


def record(service: str, method: str, *, caller: str, status: str, start: float) -> None:
    """Write the journal's line: service method caller status milliseconds."""
    name = caller.partition("@")[0] or "-"
    journal.info(
        "%s %s %s %s %.1fms", service, method, name, status, (perf_counter() - start) * 1000
    )


def names(method: str) -> tuple[str, str]:
    """Return `google.cloud.run.v2.Jobs/RunJob` as (`run`, `Jobs/RunJob`)."""
    package, _, rest = method.rpartition(".")
    words = package.removeprefix("google.").removeprefix("cloud.").split(".")
    return words[0], rest


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
