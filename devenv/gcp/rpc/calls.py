"""Calls of methods: authentication, journal, faults, errors in Google's form, and the gRPC server."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from devenv.gcp.caller import ApiCall, ApiCaller, Authenticator
from devenv.gcp.errors import CloudError, Internal, InvalidArgument
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
    ) -> AsyncIterator[Message]:
        """Yield the answers of `rpc` to a stream of requests. Raises CloudError only.

        A fault strikes when the first request has come, which names the resource; the journal has
        the stream when it has ended.
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
            async for answer in rpc.handle(parsed(), ApiCall(caller, headers)):
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
_NAMING = ("name", "resource", "parent", "subscription", "topic", "snapshot", "project", "log_name")


def _resource_of(request: Any) -> str:
    """Return the name of the resource that a request is about, as its caller wrote it."""
    fields = request.DESCRIPTOR.fields_by_name
    for name in _NAMING:
        if name in fields and fields[name].message_type is None:
            return str(getattr(request, name))
    nested = (
        getattr(request, name)
        for name, field in fields.items()
        if field.message_type and not field.is_repeated
    )
    return next((str(each.name) for each in nested if "name" in each.DESCRIPTOR.fields_by_name), "")


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


_CODES = {code.value[0]: code for code in grpc.StatusCode}
# Kept connections are what makes a call cheap; clients may ping them as often as they like.
# The largest request is a publication to Pub/Sub, of 10 MB; it is refused with Google's text.
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 20 << 20),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
_GRACE = 0.2


class GrpcServer:
    """Serves `rpcs` on two loopback ports of its own: in clear and under TLS."""

    def __init__(self, rpcs: Iterable[Rpc | StreamRpc], calls: Calls) -> None:
        self._calls = calls
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_Handlers(map(self._handler, rpcs), calls.miss),))
        self.plain_port = self._server.add_insecure_port("127.0.0.1:0")
        self.tls_port = 0

    async def start(self, *, key: bytes, chain: bytes) -> None:
        """Listen; `key` and `chain` are PEM."""
        credentials = grpc.ssl_server_credentials([(key, chain)])
        self.tls_port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(_GRACE)

    def _handler(self, rpc: Rpc | StreamRpc) -> tuple[str, grpc.RpcMethodHandler]:
        if isinstance(rpc, StreamRpc):
            return rpc.method, grpc.stream_stream_rpc_method_handler(partial(self._stream, rpc))
        return rpc.method, grpc.unary_unary_rpc_method_handler(partial(self._answer, rpc))

    async def _answer(self, rpc: Rpc, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            read = partial(rpc.request.FromString, data)
            answer = await self._calls.run(rpc, _headers(context), read)
        except CloudError as error:
            await _abort(context, error)
        return bytes(answer.SerializeToString())

    async def _stream(
        self, rpc: StreamRpc, sent: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        try:
            async for answer in self._calls.stream(rpc, _headers(context), sent):
                yield answer.SerializeToString()
        except CloudError as error:
            await _abort(context, error)


async def _abort(context: grpc.aio.ServicerContext, error: CloudError) -> None:
    wire = status(error)
    trailer = (("grpc-status-details-bin", wire.SerializeToString()),)
    details = trailer if error.details else ()
    await context.abort(_CODES[error.code], error.message, details)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # no types
    """Finds the method of a request; an unknown one is UNIMPLEMENTED."""

    def __init__(
        self,
        handlers: Iterable[tuple[str, grpc.RpcMethodHandler]],
        miss: Callable[[str], None],
    ) -> None:
        self._miss = miss
        self._methods = {f"/{method}": handler for method, handler in handlers}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method
        if method not in self._methods:
            self._miss(method_id(method.removeprefix("/")))
        return self._methods.get(method)


def _headers(context: grpc.aio.ServicerContext) -> Mapping[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
