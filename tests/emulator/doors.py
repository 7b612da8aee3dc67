"""Clients of one cloud by each of its doors, and the rows that they leave in its journal."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx

from devenv.gcp import Cloud
from devenv.gcp.rpc.http2 import FRAME_LIMIT, PREFACE
from devenv.gcp.rpc.http2_frames import Flag, header_block, header_frames
from tests.emulator.target import Worker
from tests.waiting import until


@dataclass
class Doors:
    """Clients of one cloud, by door."""

    cloud: Cloud
    worker: Worker
    client: httpx.Client
    key: dict[str, Any] = field(default_factory=dict)
    seen: int = 0  # the id of the last row that belongs to an earlier call

    def http(
        self,
        verb: str,
        address: str,
        *,
        account: str = "app",
        token: str = "",
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> httpx.Response:
        """Send a request to `host/path` through the plain port; without an account, no token."""
        host, _, path = address.partition("/")
        sent = {"host": host, "content-type": "application/json"}
        if account:
            token = token or self.cloud.access_token(account)
            sent["authorization"] = f"Bearer {token}"
        return self.client.request(
            verb,
            f"{self.cloud.plain_url}/{path}",
            content=json.dumps(body).encode() if body is not None else content,
            headers=sent | (headers or {}),
        )

    def grpc(self, method: str, request: bytes = b"", *, token: str = "") -> None:
        target = self.cloud.plain_url.removeprefix("http://")
        metadata = [("authorization", f"Bearer {token or self.cloud.access_token('app')}")]
        with grpc.insecure_channel(target) as channel, suppress(grpc.RpcError):
            channel.unary_unary(f"/{method}")(request, metadata=metadata)

    def metadata(self, path: str, **headers: str) -> None:
        host = self.cloud.environ("app")["GCE_METADATA_HOST"]
        self.client.get(f"http://{host}{path}", headers=headers)

    def control(self, verb: str, path: str, body: Any = None, *, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token or self.cloud.control_token}"}
        url = f"{self.cloud.plain_url}/_devenv/{path}"
        self.client.request(verb, url, json=body, headers=headers)

    def proxy(self, head: str) -> None:
        """Send the proxy a request, and wait until it closes the connection."""
        url = urlsplit(self.cloud.proxy_url)
        with socket.create_connection((url.hostname, url.port)) as client:
            client.sendall(f"{head}\r\n\r\n".encode())
            while client.recv(1000):
                pass

    def http2(self, path: str) -> None:
        """Send a request over HTTP/2 that is no call of gRPC, and wait for its answer."""
        headers = ((":method", "GET"), (":path", path), (":authority", "localhost"))
        url = urlsplit(self.cloud.plain_url)
        with socket.create_connection((url.hostname, url.port)) as client:
            end = Flag.END_STREAM
            client.sendall(
                PREFACE + b"".join(header_frames(1, header_block(*headers), FRAME_LIMIT, end))
            )
            received = b""
            while b"HTTP/2 is for gRPC" not in received:
                data = client.recv(1000)
                assert data
                received += data

    def rows(self) -> list[dict[str, Any]]:
        """Return the calls that nobody has seen yet, the oldest first."""
        answer = self.client.get(
            f"{self.cloud.plain_url}/_devenv/journal?limit=1000",
            headers={"Authorization": f"Bearer {self.cloud.control_token}"},
        )
        return [row for row in reversed(answer.json()["calls"]) if row["id"] > self.seen]

    def see(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many rows, or more; return those that are there.

        A row that comes later is one too many for the next call, or at the end.
        """
        rows = until(lambda: found if len(found := self.rows()) >= count else [])
        self.seen = rows[-1]["id"]
        return rows
