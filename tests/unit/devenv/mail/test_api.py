"""The REST API speaks Mailpit's shapes, over an application without a socket."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from devenv.mail.__main__ import app
from devenv.mail.mailbox import Mailbox


@dataclass(frozen=True)
class Client:
    """Calls the application in memory."""

    box: Mailbox

    def request(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app(self.box))
            async with httpx.AsyncClient(transport=transport, base_url="http://mail") as client:
                return await client.request(method, path, content=content)

        return asyncio.run(call())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def delete(self, path: str, content: bytes = b"") -> httpx.Response:
        return self.request("DELETE", path, content)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    box = Mailbox()
    mail = EmailMessage()
    mail["From"] = "bot@example.org"
    mail["To"] = "ann@example.org"
    mail["Subject"] = "Your run has finished"
    mail.set_content("It passed.")
    mail.add_alternative("<script>alert(1)</script><p>It passed.</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="run.pdf")
    box.add(mail.as_bytes(), sender="bot@example.org", recipients=["ann@example.org", "eve@x.y"])
    yield box
    box.close()


@pytest.fixture
def client(box: Mailbox) -> Client:
    return Client(box)


def messages(client: Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/v1/messages").json()
    return answer


def test_the_list_has_a_line_per_mail(client: Client) -> None:
    answer = messages(client)

    assert (answer["total"], answer["unread"], answer["messages_count"]) == (1, 1, 1)
    [line] = answer["messages"]
    assert line["Subject"] == "Your run has finished"
    assert line["To"] == [{"Name": "", "Address": "ann@example.org"}]
    assert line["Bcc"] == [{"Name": "", "Address": "eve@x.y"}]
    assert (line["Attachments"], line["Snippet"], line["Read"]) == (1, "It passed.", False)


def test_a_message_is_read_by_being_fetched(client: Client) -> None:
    name = messages(client)["messages"][0]["ID"]

    message = client.get(f"/api/v1/message/{name}").json()

    assert message["Text"].strip() == "It passed."
    assert message["Attachments"][0]["FileName"] == "run.pdf"
    assert messages(client)["unread"] == 0


def test_headers_source_and_parts_are_there(client: Client) -> None:
    message = client.get("/api/v1/message/latest").json()
    part = message["Attachments"][0]["PartID"]

    headers = client.get("/api/v1/message/latest/headers").json()
    assert headers["Subject"] == ["Your run has finished"]
    assert client.get("/api/v1/message/latest/raw").text.startswith("From: bot@example.org")
    assert client.get(f"/api/v1/message/latest/part/{part}").content == b"%PDF"


@pytest.mark.parametrize("path", ["", "/headers", "/raw", "/part/1"])
def test_a_message_that_is_not_there_is_404(client: Client, path: str) -> None:
    assert client.get(f"/api/v1/message/nope{path}").status_code == 404


def test_a_part_that_is_not_there_is_404(client: Client) -> None:
    assert client.get("/api/v1/message/latest/part/99").status_code == 404


def test_deleting_without_ids_deletes_all(client: Client) -> None:
    assert client.delete("/api/v1/messages").text == "ok"
    assert messages(client)["total"] == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"IDs": 3}', b"\xff", b"[" * 50_000])
def test_a_wrong_list_of_ids_is_refused(client: Client, body: bytes) -> None:
    assert client.delete("/api/v1/messages", body).status_code == 400
    assert messages(client)["total"] == 1


def test_an_endless_list_of_ids_is_refused(client: Client) -> None:
    answer = client.delete("/api/v1/messages", b" " * 70_000)

    assert answer.status_code == 413


@pytest.mark.parametrize("query", ["start=x", "limit=1.5"])
def test_wrong_numbers_are_refused(client: Client, query: str) -> None:
    assert client.get(f"/api/v1/messages?{query}").status_code == 400


def test_numbers_are_bounded(client: Client) -> None:
    assert client.get("/api/v1/messages?start=-5&limit=99999999999999999999").status_code == 200
    assert client.get("/api/v1/messages?start=99999999999999999999").json()["messages"] == []


def test_the_html_of_a_mail_cannot_run_scripts(client: Client) -> None:
    policy = client.get("/view/latest").headers["content-security-policy"]

    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/api/v1/info"])
def test_the_rest_answers(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200
