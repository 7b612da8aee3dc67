"""Answers of the tools for an assistant: no secrets are among them."""

from devenv.cli.mcp_server import _public, _without_secrets


def test_variables_like_secrets_have_no_value() -> None:
    env = [
        {"name": "API_TOKEN", "value": "abc"},
        {"name": "DATABASE_URL", "value": "postgres://shop:secret@db/shop"},
        {"name": "REGION", "value": "us"},
    ]
    answer = [{"name": "jobs/report", "template": {"containers": [{"env": env}]}}]

    (job,) = _without_secrets(answer)

    kept = job["template"]["containers"][0]["env"]
    hidden = [{"name": name, "value": "(left out)"} for name in ("API_TOKEN", "DATABASE_URL")]
    assert kept == [*hidden, env[2]]
    assert job["name"] == "jobs/report"


def test_headers_like_secrets_have_no_value() -> None:
    headers = {"Authorization": "Basic YTpi", "Content-Type": "text/plain"}

    (task,) = _without_secrets([{"httpRequest": {"headers": headers}}])

    assert task["httpRequest"]["headers"] == headers | {"Authorization": "(left out)"}


def test_urls_have_neither_password_nor_token() -> None:
    assert _public("postgres://shop:secret@127.0.0.1:5432/shop") == "postgres://127.0.0.1:5432/shop"
    assert _public("http://localhost:8090/?token=abc") == "http://localhost:8090/"
