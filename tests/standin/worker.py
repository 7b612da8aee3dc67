"""Worker on the loopback interface that takes callbacks and gives scripted answers."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Callback:
    path: str
    authorization: str | None
    body: dict[str, Any]


class Worker:
    def __init__(self, *, status: int = 200, answer: bytes = b"{}") -> None:
        self.callbacks: list[Callback] = []
        self._server = HTTPServer(("127.0.0.1", 0), _handler(self.callbacks, status, answer))
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/v1/validation-callbacks/"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(callbacks: list[Callback], status: int, answer: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            authorization = self.headers["Authorization"]
            callbacks.append(Callback(path=self.path, authorization=authorization, body=body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any, **kwargs: Any) -> None:
            """Write no log."""

    return Handler
