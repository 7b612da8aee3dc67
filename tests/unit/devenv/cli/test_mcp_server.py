"""Answers of the tools for an assistant: no secrets are among them."""

from devenv.cli.mcp_server import _public, _without_secrets


def test_variables_like_secrets_have_no_value() -> None:
    env = [{"name": "API_TOKEN", "value": "abc"}, {"name": "REGION", "value": "us"}]
    answer = [{"name": "jobs/report", "template": {"containers": [{"env": env}]}}]

    (job,) = _without_secrets(answer)

    kept = job["template"]["containers"][0]["env"]
    assert kept == [{"name": "API_TOKEN", "value": "(left out)"}, env[1]]
    assert job["name"] == "jobs/report"


def test_urls_have_neither_password_nor_token() -> None:
    assert _public("postgres://shop:secret@127.0.0.1:5432/shop") == "postgres://127.0.0.1:5432/shop"
    assert _public("http://localhost:8090/?token=abc") == "http://localhost:8090/"
