"""The stand-in for a language model: fixed rules behind OpenAI's protocol."""

import json

import pytest
from starlette.testclient import TestClient

from devenv.gcp.stand_in_model import answer, mounts

DOCUMENT = "Inspector: Ada. All is well."


@pytest.mark.parametrize(
    ("criterion", "verdict", "quote"),
    [
        ('It names its "inspector".', "met", "Inspector"),
        ("It mentions “Ben”.", "not_met", ""),
        ('It does not contain "TBD".', "met", ""),
        ('It does not contain "well".', "not_met", "well"),
        ("It has at least 5 words.", "met", ""),
        ("It has at most 4 words.", "not_met", ""),
        ("It is well written.", "unclear", ""),
        (f"It has at least {'9' * 5000} words.", "unclear", ""),
    ],
)
def test_criterion_is_decided_by_its_rule(criterion: str, verdict: str, quote: str) -> None:
    review = {"criteria": [{"number": 1, "text": criterion}], "document": DOCUMENT}

    [found] = json.loads(answer(json.dumps(review)))["answers"]

    assert (found["verdict"], found["quote"]) == (verdict, quote)


def test_endpoint_speaks_the_protocol() -> None:
    [mount] = mounts()
    client = TestClient(mount.app)
    url = "/stand-in-model/v1/chat/completions"
    hello = {"model": "stand-in", "messages": [{"role": "user", "content": "Hello"}]}

    told = client.post(url, json=hello).json()

    assert told["choices"][0]["message"]["content"].startswith("This stand-in answers only reviews")
    assert told["usage"]["prompt_tokens"] == 1
    assert client.post(url, json={"model": "stand-in"}).status_code == 400
    assert client.post(url, content=b" " * (8 * 1024 * 1024 + 1)).status_code == 400
    assert client.get("/stand-in-model/v1/models").json()["data"][0]["id"] == "stand-in"
