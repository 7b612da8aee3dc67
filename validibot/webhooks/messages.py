"""The body of a webhook's message in each style, made of the document of its delivery.

Slack: text in its markup (https://docs.slack.dev/messaging/formatting-message-text), which Mattermost
reads as well. Teams: an Adaptive Card for a workflow that "posts to a channel when a webhook request is
received" (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using);
its texts are runs, in which nothing is markup.
"""

from collections.abc import Mapping
from typing import Any

from validibot.webhooks.models import MessageStyle

# Of a finding: a message should fit a phone.
MAX_FINDING = 500
_COLOURS = {"PASS": "good", "FAIL": "attention", "ERROR": "attention", "TIMED_OUT": "attention"}


def body_of(style: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body as a JSON object; `document` is {"type", "timestamp", "data"}."""
    match style:
        case MessageStyle.SLACK:
            return {"text": _slack_text(document)}
        case MessageStyle.TEAMS:
            return _teams_message(document)
        case _:
            return document


def _words(document: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return title, first finding (shortened) and address; those that are missing are empty."""
    data = document["data"]
    finding = str(data.get("finding") or data.get("error") or "")
    if len(finding) > MAX_FINDING:
        finding = f"{finding[: MAX_FINDING - 1]}…"
    return str(data.get("text") or document["type"]), finding, str(data.get("url") or "")


def _slack_text(document: Mapping[str, Any]) -> str:
    title, finding, url = _words(document)
    lines = [f"*{_escaped(' '.join(title.split()))}*"]
    lines += [f"> {_escaped(line)}" for line in finding.splitlines() if line.strip()]
    return "\n".join([*lines, f"<{url}|Open the run>"] if url else lines)


def _escaped(text: str) -> str:
    """Return a text without mentions, named links and markup of Slack and Mattermost."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Mattermost reads @channel and [name](address), which Slack does not.
    plain = plain.replace("@", "@\u200b").replace("](", "]\u200b(")
    # A character of no width ends the words that would be bold, struck or code.
    return "".join(f"\u200b{each}\u200b" if each in "*_~`" else each for each in plain)


def _teams_message(document: Mapping[str, Any]) -> dict[str, Any]:
    title, finding, url = _words(document)
    colour = _COLOURS.get(document["data"].get("result", ""), "default")
    texts = [_text(title, weight="bolder", size="medium", color=colour)]
    texts += [_text(finding)] if finding else []
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": texts,
    }
    if url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the run", "url": url}]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _text(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
