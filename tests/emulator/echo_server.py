"""A container for tests of Cloud Run services: tells its variables, its identity, its files, its headers."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

EMAIL = "computeMetadata/v1/instance/service-accounts/default/email"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        given = dict(parse_qsl(parts.query))
        match parts.path:
            case "/env":
                text = json.dumps(dict(os.environ))  # noqa: TID251 - the container's own
            case "/headers":
                text = json.dumps({name.lower(): value for name, value in self.headers.items()})
            case "/whoami":
                url = f"http://{os.environ['GCE_METADATA_HOST']}/{EMAIL}"  # noqa: TID251
                asked = Request(url, headers={"Metadata-Flavor": "Google"})
                text = urlopen(asked).read().decode()  # noqa: S310
            case "/file":
                text = Path(os.environ[given["of"]]).read_text()  # noqa: TID251
            case "/sleep":
                time.sleep(float(given["seconds"]))
                text = "late"
            case "/pid":
                text = str(os.getpid())
            case "/exit":
                os._exit(1)
            case _:
                text = "hello"
        self.send_response(200)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def serve(handler: type[Handler] = Handler) -> None:
    time.sleep(float(os.environ.get("START_AFTER", "0")))  # noqa: TID251
    port = int(os.environ["PORT"])  # noqa: TID251
    ThreadingHTTPServer(("", port), handler).serve_forever()


if __name__ == "__main__":
    serve()
