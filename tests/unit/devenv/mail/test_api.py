"""Unit tests of the mail catcher's HTTP side; the contract tests compare it with Mailpit."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from devenv.mail.mailbox import Mailbox
from devenv.mail.web import app


@dataclass(frozen=True)
class MailApiClient:
    """Calls the application in memory."""

    box: Mailbox

    def request(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        host: str = "localhost:8025",
        **headers: str,
    ) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app(self.box))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost:8025"
            ) as client:
                sent = {"Host": host, **headers}
                return await client.request(method, path, content=content, headers=sent)

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
def client(box: Mailbox) -> MailApiClient:
    return MailApiClient(box)


def messages(client: MailApiClient) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/v1/messages").json()
    return answer


def test_bcc_is_envelope_recipient_without_header(client: MailApiClient) -> None:
    [line] = messages(client)["messages"]

    assert line["To"] == [{"Name": "", "Address": "ann@example.org"}]
    assert line["Bcc"] == [{"Name": "", "Address": "eve@x.y"}]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8025", "10.0.0.7", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/messages", "/view/latest", "/events"])
def test_unknown_host_is_refused(client: MailApiClient, host: str, path: str) -> None:
    answer = client.request("GET", path, host=host)

    assert answer.status_code == 403
    assert "run has finished" not in answer.text


def test_page_of_another_site_is_refused(client: MailApiClient) -> None:
    for origin in ("https://evil.example", "null"):
        answer = client.request("DELETE", "/api/v1/messages", origin=origin)
        assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost:8025", "127.0.0.1:8025", "localhost"])
def test_local_host_is_answered(client: MailApiClient, host: str) -> None:
    assert client.request("GET", "/api/v1/messages", host=host).status_code == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"IDs": 3}', b"\xff", b"[" * 50_000])
def test_invalid_list_of_ids_returns_400(client: MailApiClient, body: bytes) -> None:
    assert client.delete("/api/v1/messages", body).status_code == 400
    assert messages(client)["total"] == 1


def test_too_long_list_of_ids_returns_413(client: MailApiClient) -> None:
    answer = client.delete("/api/v1/messages", b" " * 70_000)

    assert answer.status_code == 413


@pytest.mark.parametrize("query", ["start=x", "limit=1.5"])
def test_paging_without_number_returns_400(client: MailApiClient, query: str) -> None:
    assert client.get(f"/api/v1/messages?{query}").status_code == 400


def test_paging_out_of_range_is_bounded(client: MailApiClient) -> None:
    assert client.get("/api/v1/messages?start=-5&limit=99999999999999999999").status_code == 200
    assert client.get("/api/v1/messages?start=99999999999999999999").json()["messages"] == []


def test_html_of_mail_is_sandboxed(client: MailApiClient) -> None:
    policy = client.get("/view/latest").headers["content-security-policy"]

    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


def test_html_of_mail_opened_alone_leads_to_inbox(client: MailApiClient) -> None:
    path, name = "/view/latest", messages(client)["messages"][0]["ID"]
    answer = client.request("GET", path, b"", "localhost", **{"Sec-Fetch-Dest": "document"})

    assert answer.headers["location"] == f"/#{name}"
    assert client.request("GET", path, b"", "localhost", **{"Sec-Fetch-Dest": "iframe"}).is_success


def test_inbox_allows_its_own_script_alone(client: MailApiClient) -> None:
    policy = client.get("/").headers["content-security-policy"]

    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/api/v1/info"])
def test_page_and_health_are_served(client: MailApiClient, path: str) -> None:
    assert client.get(path).status_code == 200
