"""The gRPC side: methods as generic handlers over bytes, with or without TLS."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import grpc
import grpc.aio

from devenv.gcp.errors import CloudError
from devenv.gcp.rpc import Rpc
from devenv.gcp.rpc.calls import Calls, method_id, status

_CODES = {code.value[0]: code for code in grpc.StatusCode}
# Kept connections are what makes a call cheap; clients may ping them as often as they like.
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
_GRACE = 0.2


class GrpcServer:
    """Serves `rpcs` on two loopback ports of its own: in clear and under TLS."""

    def __init__(self, rpcs: Iterable[Rpc], calls: Calls) -> None:
        self._calls = calls
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_Handlers(rpcs, self._answer, calls.miss),))
        self.plain_port = self._server.add_insecure_port("127.0.0.1:0")
        self.tls_port = 0

    async def start(self, *, key: bytes, chain: bytes) -> None:
        """Listen; `key` and `chain` are PEM."""
        credentials = grpc.ssl_server_credentials([(key, chain)])
        self.tls_port = self._server.add_secure_port("127.0.0.1:0", credentials)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(_GRACE)

    async def _answer(self, rpc: Rpc, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            read = partial(rpc.request.FromString, data)
            answer = await self._calls.run(rpc, _headers(context), read)
        except CloudError as error:
            wire = status(error)
            trailer = (("grpc-status-details-bin", wire.SerializeToString()),)
            details = trailer if error.details else ()
            await context.abort(_CODES[error.code], error.message, details)
        return bytes(answer.SerializeToString())


_Answer: TypeAlias = Callable[[Rpc, bytes, Any], Awaitable[bytes]]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # no types
    """Finds the method of a request; an unknown one is UNIMPLEMENTED."""

    def __init__(self, rpcs: Iterable[Rpc], answer: _Answer, miss: Callable[[str], None]) -> None:
        self._miss = miss
        self._methods = {
            f"/{rpc.method}": grpc.unary_unary_rpc_method_handler(partial(answer, rpc))
            for rpc in rpcs
        }

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
