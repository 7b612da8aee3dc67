"""The receiver of webhooks in the mail catcher."""

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from devenv.mail.hooks import MAX_BODY_BYTES, MAX_MESSAGES, MAX_SHOWN, MAX_TOTAL_BYTES, _indented
from devenv.mail.mailbox import Mailbox
from devenv.mail.web import app

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def client() -> Iterator[TestClient]:
    mailbox = Mailbox()
    with TestClient(app(mailbox), base_url="http://localhost") as client:
        yield client
    mailbox.close()


def send(client: TestClient, body: str = '{"type": "run.failed"}', *, secret: str = SECRET) -> int:
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    signature = Webhook(secret).sign("msg_1", now, body)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    return client.post("/hooks/try", content=body, headers=headers).status_code


def test_message_is_listed_with_headers_body_and_verified_signature(client: TestClient) -> None:
    assert send(client) == 204
    client.post("/hooks", data={"secret": SECRET})

    page = client.get("/hooks").text

    for text in ("/hooks/try", "webhook-id: msg_1", "run.failed", "signature verified"):
        assert text in page


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("whsec_" + "A" * 32, "signature wrong"),
        ("no secret!", "signature wrong"),
        ("whsec_é", "signature wrong"),
        ("", "not verified"),
    ],
)
def test_signature_of_another_secret_is_not_verified(
    client: TestClient, typed: str, told: str
) -> None:
    send(client)
    client.post("/hooks", data={"secret": typed})

    assert told in client.get("/hooks").text


@pytest.mark.parametrize(
    ("wanted", "answer"), [("500", 500), ("410", 410), ("99", 400), ("x", 400), ("99999", 400)]
)
def test_status_of_the_answer_is_chosen(client: TestClient, wanted: str, answer: int) -> None:
    assert client.post(f"/hooks/try?status={wanted}", content=b"{}").status_code == answer


def test_too_large_message_returns_413(client: TestClient) -> None:
    assert client.post("/hooks/try", content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_bytes_of_all_messages_are_bounded_and_long_bodies_are_cut(client: TestClient) -> None:
    for number in range(MAX_TOTAL_BYTES // MAX_BODY_BYTES + 2):
        client.post(f"/hooks/n{number}.", content=b"x" * MAX_BODY_BYTES)

    page = client.get("/hooks").text

    assert "/hooks/n2." not in page
    assert "/hooks/n3." in page
    assert "… and more; the body has 1,048,576 bytes" in page


def test_deep_json_is_indented_up_to_its_first_characters(client: TestClient) -> None:
    deep = json.loads("[" * 500 + ",".join("1" * 10_000) + "]" * 500)

    assert len(_indented(deep)) < MAX_SHOWN + 2000


def test_messages_survive_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        mailbox = Mailbox(tmp_path / "mails.db")
        with TestClient(app(mailbox), base_url="http://localhost") as client:
            client.post("/hooks/try", content=b"{}")
            found = client.get("/hooks").text.count("/hooks/try</strong>")
        mailbox.close()
    assert found == 2


def test_message_cannot_put_markup_into_the_page(client: TestClient) -> None:
    client.post("/hooks/<script>", content=b"<script>\xff", headers={"x": "<script>"})

    page = client.get("/hooks").text

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_newest_messages_are_kept_until_they_are_deleted(client: TestClient) -> None:
    for number in range(MAX_MESSAGES + 1):
        client.post(f"/hooks/n{number}.", content=b"")
    page = client.get("/hooks").text
    assert "/hooks/n0." not in page
    assert page.index("/hooks/n200.") < page.index("/hooks/n1.")

    client.post("/hooks", data={"clear": "1"})

    assert "No message has arrived yet." in client.get("/hooks").text


@pytest.mark.parametrize(
    ("signature", "body"), [(b"v1,\xe9", b"{}"), (b"v1,x", b'{"type": "\\ud800", "a": "\\ud800"}')]
)
def test_text_that_cannot_be_encoded_is_still_listed(
    client: TestClient, signature: bytes, body: bytes
) -> None:
    client.post("/hooks", data={"secret": SECRET})
    client.post("/hooks/odd", content=body, headers={b"webhook-signature": signature})

    page = client.get("/hooks")

    assert page.status_code == 200
    assert "signature wrong" in page.text
