"""Contract of the mail catcher: one suite over ours and over the real Mailpit.

Mailpit is built from its Go module, which `go install` takes from a module proxy or its cache.
"""

import contextlib
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port
from tests.waiting import LIMIT

MODULE = "github.com/axllent/mailpit@v1.33.1"
pytestmark = pytest.mark.xdist_group("mail")


@dataclass(frozen=True)
class Catcher:
    """A running mail catcher."""

    smtp_port: int
    http: httpx.Client

    def send(self, subject: str) -> None:
        mail = EmailMessage()
        mail["From"] = "Bot <bot@example.org>"
        mail["To"] = "ann@example.org"
        mail["Subject"] = subject
        mail.set_content("It passed.")
        mail.add_alternative("<p>It passed.</p>", subtype="html")
        mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="run.pdf")
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as smtp:
            smtp.send_message(mail, to_addrs=["ann@example.org", "eve@example.org"])

    def messages(self, query: str = "") -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get(f"/api/v1/messages{query}").json()
        return answer


def _mailpit(folder: Path) -> str:
    """Return the program, built into `folder` unless it is there."""
    if (go := shutil.which("go")) is None:
        pytest.skip("Go is not installed, so that Mailpit cannot be built")
    program = folder / "mailpit"
    if not program.exists():
        built = subprocess.run(
            ["env", f"GOBIN={folder}", go, "install", MODULE],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            pytest.skip(f"Mailpit cannot be built: {built.stderr.strip()[-300:]}")
    return str(program)


def _command(name: str, smtp: int, http: int, folder: Path) -> list[str]:
    if name == "ours":
        places = ["--smtp-port", str(smtp), "--http-port", str(http)]
        return [sys.executable, "-m", "devenv.mail", *places]
    places = ["--smtp", f"127.0.0.1:{smtp}", "--listen", f"127.0.0.1:{http}"]
    return [_mailpit(folder), "--quiet", "--disable-version-check", *places]


@pytest.fixture(scope="module", params=["ours", "mailpit"])
def server(request: pytest.FixtureRequest) -> Iterator[Catcher]:
    smtp, http = free_port(), free_port()
    folder = request.config.cache.mkdir("mailpit")
    with subprocess.Popen(_command(request.param, smtp, http, folder)) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{http}") as client:
                _until_ready(process, client)
                yield Catcher(smtp, client)
        finally:
            process.terminate()


def _until_ready(process: "subprocess.Popen[bytes]", client: httpx.Client) -> None:
    while process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"The mail catcher ended with {process.returncode}.")


@pytest.fixture
def catcher(server: Catcher) -> Catcher:
    """The catcher with one mail."""
    server.http.delete("/api/v1/messages")
    server.send("Your run has finished")
    return server


def test_list_counts_and_summarises_mails(catcher: Catcher) -> None:
    answer = catcher.messages()

    assert (answer["total"], answer["unread"], answer["messages_count"]) == (1, 1, 1)
    [line] = answer["messages"]
    assert line["Subject"] == "Your run has finished"
    assert line["From"] == {"Name": "Bot", "Address": "bot@example.org"}
    assert line["To"] == [{"Name": "", "Address": "ann@example.org"}]
    assert line["Bcc"] == [{"Name": "", "Address": "eve@example.org"}]
    assert (line["Attachments"], line["Read"]) == (1, False)
    assert "It passed." in line["Snippet"]


def test_paging_starts_with_newest_mail(catcher: Catcher) -> None:
    catcher.send("second")

    subjects = [mail["Subject"] for mail in catcher.messages("?start=1&limit=1")["messages"]]

    assert subjects == ["Your run has finished"]


def test_fetched_message_is_read_and_has_its_parts(catcher: Catcher) -> None:
    name = catcher.messages()["messages"][0]["ID"]

    message = catcher.http.get(f"/api/v1/message/{name}").json()

    assert message["Text"].strip() == "It passed."
    assert message["HTML"].strip() == "<p>It passed.</p>"
    [attachment] = message["Attachments"]
    assert (attachment["FileName"], attachment["Size"]) == ("run.pdf", 4)
    part = catcher.http.get(f"/api/v1/message/{name}/part/{attachment['PartID']}")
    assert part.content == b"%PDF"
    assert catcher.messages()["unread"] == 0


def test_latest_message_has_headers_and_source(catcher: Catcher) -> None:
    headers = catcher.http.get("/api/v1/message/latest/headers").json()
    source = catcher.http.get("/api/v1/message/latest/raw").text

    assert headers["Subject"] == ["Your run has finished"]
    assert "Subject: Your run has finished" in source


@pytest.mark.parametrize("path", ["", "/headers", "/raw", "/part/1"])
def test_missing_message_returns_404(catcher: Catcher, path: str) -> None:
    assert catcher.http.get(f"/api/v1/message/nope{path}").status_code == 404


def test_missing_part_returns_404(catcher: Catcher) -> None:
    assert catcher.http.get("/api/v1/message/latest/part/99").status_code == 404


def test_delete_with_ids_keeps_other_mails(catcher: Catcher) -> None:
    first = catcher.messages()["messages"][0]["ID"]
    catcher.send("second")

    catcher.http.request("DELETE", "/api/v1/messages", json={"IDs": [first]})

    assert [mail["Subject"] for mail in catcher.messages()["messages"]] == ["second"]


def test_delete_without_ids_deletes_all_mails(catcher: Catcher) -> None:
    assert catcher.http.delete("/api/v1/messages").text == "ok"
    assert catcher.messages()["total"] == 0


@pytest.mark.parametrize("server", ["ours"], indirect=True)  # Mailpit goes on, and queues it
@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST / HTTP/1.1"])
def test_http_request_on_smtp_port_queues_nothing(catcher: Catcher, line: str) -> None:
    mail = (
        "HELO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: no\r\n\r\nno\r\n.\r\n"
    )
    with socket.create_connection(("127.0.0.1", catcher.smtp_port), timeout=LIMIT) as client:
        client.sendall(f"{line}\r\nHost: localhost\r\n\r\n{mail}QUIT\r\n".encode())
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(4096):
                said += data

    assert b"queued" not in said.lower()
    assert catcher.messages()["total"] == 1
