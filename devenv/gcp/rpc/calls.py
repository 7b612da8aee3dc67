"""Calls of methods: authentication, journal, faults, and errors in Google's form."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from devenv.gcp.caller import ApiCall, ApiCaller, Authenticator
from devenv.gcp.errors import CloudError, Internal, InvalidArgument, refuse_on_full_disk
from devenv.gcp.faults import Faults
from devenv.gcp.journal import UNKNOWN, Journal, JournalEntry, trace_of
from devenv.gcp.rpc import Rpc, StreamRpc

log = logging.getLogger(__name__)


class Calls:
    """Authenticates a request and has it handled, under the eyes of the journal and the faults."""

    def __init__(self, authenticator: Authenticator, journal: Journal, faults: Faults) -> None:
        self._authenticator = authenticator
        self._journal = journal
        self._faults = faults

    async def run(
        self, rpc: Rpc, headers: Mapping[str, str], read: Callable[[], Message]
    ) -> Message:
        """Return the answer of `rpc` to the request that `read` parses. Raises CloudError only."""
        with self._entry(rpc.method, headers) as (entry, caller):
            request = read()
            entry.resource = _resource_of(request)
            async with self._faults.strike(entry):
                return await rpc.handle(request, ApiCall(caller, headers))

    async def stream(
        self, rpc: StreamRpc, headers: Mapping[str, str], sent: AsyncIterator[bytes]
    ) -> AsyncGenerator[Message, None]:
        """Yield the answers of `rpc` to a stream of requests. Raises CloudError only.

        A fault strikes when the first request has come, which names the resource, and a new fault
        while the stream is open; the journal has the stream when it has ended. Close the generator in
        the task that has read from it.
        """
        with self._entry(rpc.method, headers) as (entry, caller):
            messages = aiter(sent)
            first = await anext(messages, None)
            known = [] if first is None else [rpc.request.FromString(first)]
            entry.resource = _resource_of(known[0]) if known else ""

            async def parsed() -> AsyncIterator[Message]:
                for request in known:
                    yield request
                async for data in messages:
                    yield rpc.request.FromString(data)

            async with self._faults.strike(entry):
                pass
            handled = rpc.handle(parsed(), ApiCall(caller, headers))
            with self._faults.stream(entry) as stream:
                async with aclosing(handled) as answers:
                    async for answer in answers:
                        await stream.ready()
                        yield answer

    @contextmanager
    def _entry(
        self, method: str, headers: Mapping[str, str]
    ) -> Iterator[tuple[JournalEntry, ApiCaller]]:
        """Authenticate the caller, and record how the call inside ended."""
        with self._journal.entry(method_id(method)) as entry:
            entry.status, entry.trace = "OK", trace_of(headers)
            try:
                caller = self._authenticator.caller(headers)
                entry.caller = caller.email
                with refuse_on_full_disk(method):
                    yield entry, caller
            except CloudError as error:
                entry.status = error.status
                raise
            except DecodeError as error:
                entry.status = InvalidArgument.status
                raise InvalidArgument("The request is not a valid protocol buffer.") from error
            except Exception as error:
                entry.status = Internal.status
                log.exception("%s broke", method)
                raise Internal("Internal error encountered.") from error

    def refuse(self, rpc: Rpc | StreamRpc, headers: Mapping[str, str], error: CloudError) -> None:
        """Record a call whose request cannot be read. Raises Unauthenticated, which comes first."""
        with suppress(type(error)), self._entry(rpc.method, headers):
            raise error

    def refuse_other(self, headers: Mapping[str, str], status: int) -> None:
        """Record a request over HTTP/2 that is no call of gRPC."""
        host = headers.get(":authority", "").partition(":")[0]
        self._journal.add_refusal(
            headers.get(":method", "-"), host, headers.get(":path", ""), status
        )

    def miss(self, method: str) -> None:
        """Record a call of a method that is not emulated."""
        with self._journal.entry(method) as entry:
            entry.status, entry.decision = "UNIMPLEMENTED", UNKNOWN


def method_id(method: str) -> str:
    """Return `google.cloud.run.v2.Jobs/RunJob` as `run.Jobs.RunJob`."""
    package, _, rest = method.rpartition(".")
    words = package.removeprefix("google.").removeprefix("cloud.").split(".")
    return f"{words[0]}.{rest.replace('/', '.')}"


# Fields that name the resource of a request; Pub/Sub calls each kind by its own name.
_NAMING = ("name", "resource", "parent", "subscription", "topic", "snapshot", "log_name")
# Fields that name one part each, in Cloud SQL and the older APIs, with the plurals of full names.
_PARTS = {
    "project": "projects",
    "project_id": "projects",
    "instance": "instances",
    "database": "databases",
    "operation": "operations",
    "trace_id": "traces",
}


def _resource_of(request: Any) -> str:
    """Return the name of the resource that a request is about, as its caller wrote it."""
    fields = request.DESCRIPTOR.fields_by_name
    if "project" in fields or "project_id" in fields:
        parts = (
            (plural, getattr(request, part)) for part, plural in _PARTS.items() if part in fields
        )
        return "/".join(
            value if value.startswith(f"{plural}/") else f"{plural}/{value}"
            for plural, value in parts
            if value
        )
    for name in _NAMING:
        if (
            name in fields
            and fields[name].message_type is None
            and (value := getattr(request, name))
        ):
            return str(value)
    if "resource_names" in fields:
        return next(iter(request.resource_names), "")
    nested = (
        getattr(request, name)
        for name, field in fields.items()
        if field.message_type and not field.is_repeated
    )
    return next((str(each.name) for each in nested if "name" in each.DESCRIPTOR.fields_by_name), "")


def status(error: CloudError) -> Status:
    """Return `error` as google.rpc.Status with its details packed."""
    return Status(code=error.code, message=error.message, details=_packed(error))


_PLATFORM_REASONS = {
    "INVALID_ARGUMENT": "badRequest",
    "OUT_OF_RANGE": "badRequest",
    "FAILED_PRECONDITION": "failedPrecondition",
    "UNAUTHENTICATED": "required",
    "PERMISSION_DENIED": "forbidden",
    "NOT_FOUND": "notFound",
    "ALREADY_EXISTS": "alreadyExists",
    "ABORTED": "aborted",
    "RESOURCE_EXHAUSTED": "rateLimitExceeded",
    "UNIMPLEMENTED": "notImplemented",
}
# Of errors by service and status.
_REASONS: Mapping[str, Mapping[str, str]] = {
    "compute": {
        "INVALID_ARGUMENT": "invalid",
        "FAILED_PRECONDITION": "resourceInUseByAnotherResource",
        "UNAUTHENTICATED": "required",
        "PERMISSION_DENIED": "forbidden",
        "NOT_FOUND": "notFound",
        "ALREADY_EXISTS": "alreadyExists",
        "ABORTED": "resourceNotReady",
        "RESOURCE_EXHAUSTED": "quotaExceeded",
        "UNIMPLEMENTED": "notImplemented",
    },
    "sqladmin": {
        "INVALID_ARGUMENT": "invalid",
        "FAILED_PRECONDITION": "invalidState",
        "UNAUTHENTICATED": "required",
        "PERMISSION_DENIED": "notAuthorized",
        "NOT_FOUND": "notFound",
        "ALREADY_EXISTS": "alreadyExists",
        "ABORTED": "operationInProgress",
        "RESOURCE_EXHAUSTED": "rateLimitExceeded",
        "UNIMPLEMENTED": "notImplemented",
    },
    **dict.fromkeys(("cloudresourcemanager", "iam", "logging", "pubsub"), _PLATFORM_REASONS),
}
_ALWAYS = frozenset({"compute", "sqladmin"})


def lists_errors(service: str, alt: str) -> bool:
    """Return whether the errors of a service over REST have a list `errors`, as older APIs do.

    Some have it where a request has `alt=json`: Google's generated clients of Go and Node read the
    reason from it. Cloud Run, Secret Manager, Artifact Registry and Scheduler never have it.
    """
    return service in _ALWAYS or (service in _REASONS and alt == "json")


def envelope(error: CloudError, service: str = "") -> dict[str, Any]:
    """Return `error` as Google's REST APIs word it: `{"error": {code, message, status, details}}`.

    With a service of older APIs it has `errors` with a reason, too.
    """
    body: dict[str, Any] = {"code": error.http, "message": error.message, "status": error.status}
    if service in _REASONS:
        reason = error.reason or _REASONS[service].get(error.status, "backendError")
        body["errors"] = [{"message": error.message, "domain": "global", "reason": reason}]
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
