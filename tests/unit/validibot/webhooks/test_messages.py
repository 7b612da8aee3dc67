"""Bodies of messages for Slack and Teams."""

from typing import Any

import pytest

from validibot.webhooks.messages import MAX_FINDING, body_of

URL = "https://runs.example.org/1"


def document(**data: Any) -> dict[str, Any]:
    return {"type": "run.failed", "timestamp": "2026-01-31T12:00:00+00:00", "data": data}


def card(**data: Any) -> dict[str, Any]:
    (attachment,) = body_of("teams", document(**data))["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    content: dict[str, Any] = attachment["content"]
    return content


def test_standard_style_is_the_document() -> None:
    assert body_of("standard", document(run="1")) == document(run="1")


def test_slack_text_names_result_finding_and_link() -> None:
    body = body_of("slack", document(text="FAIL: a.json · Office", finding="Too hot.", url=URL))

    assert body == {"text": f"*FAIL: a.json · Office*\n> Too hot.\n<{URL}|Open the run>"}


@pytest.mark.parametrize("trick", ["<!channel>", "<https://evil.example|here>", "a & b"])
def test_slack_text_escapes_mentions_and_links(trick: str) -> None:
    text = body_of("slack", document(text=trick, finding=trick))["text"]

    assert "<" not in text
    assert "&amp;" in text or "&lt;" in text


@pytest.mark.parametrize("trick", ["@channel", "[Sign in](https://evil.example)"])
def test_slack_text_escapes_mentions_and_links_of_mattermost(trick: str) -> None:
    text = body_of("slack", document(text=trick, finding=trick))["text"]

    assert "@channel" not in text
    assert "](" not in text


def test_slack_finding_of_many_lines_stays_quoted() -> None:
    text = body_of("slack", document(text="FAIL", finding="one\n\ntwo\r\nthree"))["text"]

    assert text == "*FAIL*\n> one\n> two\n> three"


def test_teams_card_names_result_finding_and_link() -> None:
    content = card(text="FAIL: [a](b)", result="FAIL", finding="**Too hot.**", url=URL)

    runs = [block["inlines"][0] for block in content["body"]]
    assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
    assert [run["text"] for run in runs] == ["FAIL: [a](b)", "**Too hot.**"]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert runs[0]["color"] == "attention"
    assert content["actions"][0]["url"] == URL


@pytest.mark.parametrize("style", ["slack", "teams"])
def test_message_without_run_or_text_is_still_made(style: str) -> None:
    assert "run.failed" in str(body_of(style, document()))


@pytest.mark.parametrize("style", ["slack", "teams"])
def test_long_finding_is_shortened(style: str) -> None:
    body = str(body_of(style, document(text="FAIL", finding="ŵ" * 10_000)))

    assert body.count("ŵ") < MAX_FINDING
    assert "…" in body
