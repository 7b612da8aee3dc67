"""A webhook made on the pages: its receiver on this machine gets the end of a run, signed."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks import Webhook

from tests.browser.screens import check_page
from tests.flows.stack import Stack
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("browser")


@dataclass
class Receiver:
    """A program that takes messages; the first one is answered with 503."""

    url: str
    count: int = 0
    messages: "queue.Queue[tuple[dict[str, str], bytes]]" = field(default_factory=queue.Queue)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.count += 1
            made.messages.put((dict(self.headers), body))
            self.send_response(503 if made.count == 1 else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_run_end_is_told_to_receiver_and_listed(
    visitor: Page, stack: Stack, receiver: Receiver
) -> None:
    settings = f"{stack.web}/app/orgs/{stack.facts['org']}/settings/webhooks/"
    visitor.goto(settings)
    visitor.get_by_label("Name").fill("Receiver")
    visitor.get_by_label("Address").fill(receiver.url)
    visitor.get_by_label("A run passed").check()
    visitor.get_by_role("button", name="Create webhook").click()
    secret = visitor.locator("#webhook-secret").inner_text()

    run = stack.run("meter-readings-schema", stack.sample("meter-readings-schema"))
    refused, repeated = (receiver.messages.get(timeout=60) for _ in range(2))

    headers, body = repeated
    message = Webhook(secret).verify(body, headers)
    assert (message["type"], message["data"]["run"]) == ("run.passed", run["id"])
    assert refused[0]["webhook-id"] == headers["webhook-id"]

    def is_listed() -> bool:
        visitor.reload()
        return visitor.get_by_text("Delivered", exact=True).is_visible()

    until(is_listed)
    expect(visitor.get_by_text("2 attempts")).to_be_visible()
    check_page(visitor, "webhook")
    visitor.goto(settings)
    check_page(visitor, "webhooks")
    visitor.get_by_role("button", name="Help").click()
    expect(visitor.get_by_role("heading", name="Webhooks").last).to_be_visible()
