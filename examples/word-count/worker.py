"""The private service: it counts the words of a stored text. Cloud Run checks who calls it."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import storage


class Counter(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        name = self.path[1:]
        text = storage.read(name) or b""
        storage.write(f"{name}.count", str(len(text.split())).encode())
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Counter).serve_forever()
