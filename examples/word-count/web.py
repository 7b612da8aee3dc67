"""The public service: a text by POST, its number of words by GET /ID."""

import os
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import storage
from google.cloud import tasks_v2

tasks = tasks_v2.CloudTasksClient()
queue = tasks.queue_path(storage.PROJECT, os.environ["REGION"], os.environ["QUEUE"])


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, "POST a text here.")
        elif (count := storage.read(f"{self.path[1:]}.count")) is None:
            self._answer(404, "Not counted yet.")
        else:
            self._answer(200, count.decode())

    def do_POST(self) -> None:
        name = uuid.uuid4().hex
        storage.write(name, self.rfile.read(int(self.headers["Content-Length"])))
        url = f"{os.environ['WORKER_URL']}/{name}"
        token = {
            "service_account_email": os.environ["CALLER"],
            "audience": os.environ["WORKER_URL"],
        }
        request = {"url": url, "http_method": "POST", "oidc_token": token}
        tasks.create_task(parent=queue, task={"http_request": request})
        self._answer(202, f"/{name}")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
