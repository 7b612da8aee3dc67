"""Access to the console: Host, Origin, token, session, proof of forms."""

from pathlib import Path

import pytest

from devenv.console.gate import proof
from tests.unit.devenv.console.console import TOKEN, ConsoleClient


@pytest.fixture
def client(folder: Path) -> ConsoleClient:
    return ConsoleClient(folder)


def test_request_without_session_is_refused(client: ConsoleClient) -> None:
    for path in ("/", "/services/web", "/nowhere"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert "devenv open console" in answer.text


def test_link_with_token_makes_a_session(client: ConsoleClient) -> None:
    answer = client.get(f"/services/web?level=error&token={TOKEN}")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/services/web?level=error"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("token", ["wrong", "é", TOKEN[:-1], proof(TOKEN, "session")])
def test_wrong_token_makes_no_session(client: ConsoleClient, token: str) -> None:
    answer = client.get("/", params={"token": token})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_token_does_not_redirect_to_another_site(client: ConsoleClient) -> None:
    answer = client.get(f"http://localhost:8090//evil.example/?token={TOKEN}")

    assert answer.headers["location"] == "/evil.example/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8000"},
    ],
)
def test_foreign_host_or_origin_is_refused_with_session(
    visitor: ConsoleClient, headers: dict[str, str]
) -> None:
    assert visitor.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize("data", [{}, {"csrf": "wrong"}, {"csrf": proof(TOKEN, "session")}])
def test_form_without_proof_is_refused(visitor: ConsoleClient, data: dict[str, str]) -> None:
    answer = visitor.send("POST", "/services/web/start", data=data)

    assert answer.status_code == 403
    assert "Reload the page" in answer.text


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_form_leads_back_to_the_console_only(visitor: ConsoleClient, target: str) -> None:
    answer = visitor.post("/services/web/start", {"next": target})

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/")
    assert not answer.headers["location"].startswith(("//", "/\\"))


def test_pages_have_a_strict_policy(visitor: ConsoleClient) -> None:
    for path in ("/", "/nowhere"):
        headers = visitor.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_second_host_is_refused(visitor: ConsoleClient) -> None:
    hosts = [("Host", "localhost:8090"), ("Host", "evil.example")]
    answer = visitor.get("/", headers=hosts)

    assert answer.status_code == 403
    assert "more than one Host" in answer.text
