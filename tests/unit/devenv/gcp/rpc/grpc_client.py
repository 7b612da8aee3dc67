"""A client of `GrpcServer` that sends bytes and reads frames, without a socket."""

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Any

import hpack
from google.protobuf.wrappers_pb2 import BytesValue

from devenv.gcp.caller import ApiCall
from devenv.gcp.rpc import Rpc, StreamRpc
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.grpc_server import GrpcServer
from devenv.gcp.rpc.http2 import PREFACE
from devenv.gcp.rpc.http2_frames import Flag, Frame, frame, frames_in
from tests.unit.devenv.gcp.fakes import Everybody, MemoryJournal, no_faults

_LAST = Flag.END_STREAM
# An event loop refers to its tasks weakly: calls that a test leaves open would be collected as garbage
# before the loop cancels them at its end.
_KEPT: "list[GrpcClient]" = []


class EchoMethods:
    """The methods under test: they answer with what they got, after `wait` or with `error`."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.wait: asyncio.Event | None = None
        self.cancelled = False
        self.headers: Mapping[str, str] = {}

    async def answer(self, request: Any, call: ApiCall) -> BytesValue:
        self.headers = call.headers
        try:
            if self.wait:
                await self.wait.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error:
            raise self.error
        return BytesValue(value=request.value)

    async def answers(
        self, requests: AsyncIterator[Any], _call: ApiCall
    ) -> AsyncGenerator[BytesValue]:
        if self.wait:
            await self.wait.wait()
        async for request in requests:
            yield BytesValue(value=request.value)
        if self.error:
            raise self.error


class FrameWire(asyncio.Transport):
    """The transport of a connection: it keeps what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.data += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class GrpcClient:
    """The other side of a connection of `GrpcServer`, in one event loop with it."""

    def __init__(self) -> None:
        self.desk = EchoMethods()
        self.journal = MemoryJournal()
        self.wire = FrameWire()
        rpcs = (
            Rpc("t.T/Echo", BytesValue, BytesValue, self.desk.answer),
            StreamRpc("t.T/Stream", BytesValue, BytesValue, self.desk.answers),
        )
        server = GrpcServer(rpcs, Calls(Everybody(), self.journal, no_faults()))
        self.connection: Any = server.protocol()
        self.connection.connection_made(self.wire)
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self.send(PREFACE + frame(Frame.SETTINGS, 0, 0))
        _KEPT.append(self)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def head(
        self,
        method: str = "Echo",
        *,
        number: int = 1,
        more: Iterable[tuple[str, str]] = (),
        **headers: str,
    ) -> bytes:
        """Return the frame that begins a call; `more` headers may repeat names."""
        named: dict[str, str] = {
            ":method": "POST",
            ":path": f"/t.T/{method}",
            "content-type": "application/grpc",
        }
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        fields = [*named.items(), *more]
        return frame(Frame.HEADERS, Flag.END_HEADERS, number, self._encoder.encode(fields))

    async def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Return the frames that came since the last time, without the greeting's."""
        for _ in range(8):
            await asyncio.sleep(0)
        found = [each[:4] for each in frames_in(self.wire.data, 0, 1 << 24)]
        self.wire.data = b""
        return [each for each in found if each[0] not in (Frame.SETTINGS, Frame.WINDOW_UPDATE)]

    async def answer(self) -> tuple[dict[str, str], bytes]:
        """Return the headers and trailers, and the data."""
        headers: dict[str, str] = {}
        data = b""
        for kind, _, _, payload in await self.frames():
            if kind == Frame.HEADERS:
                headers |= {str(name): str(value) for name, value in self._decoder.decode(payload)}
            elif kind == Frame.DATA:
                data += payload
        return headers, data


def message(value: bytes, *, packed: int = 0) -> bytes:
    return struct.pack(">BI", packed, len(value)) + value


def echo(value: bytes) -> bytes:
    return message(BytesValue(value=value).SerializeToString())


def data(payload: bytes, flags: int = _LAST, number: int = 1) -> bytes:
    return frame(Frame.DATA, flags, number, payload)
