"""Mail by the API of each provider: what is sent to it, as the settings configure it."""

import base64
import json
import runpy
from email import message_from_bytes
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

import pytest
import responses
from anymail.exceptions import AnymailAPIError
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from django.core.mail import EmailMultiAlternatives
from pytest_django import Settings

_VARIABLES = ("POSTMARK_SERVER_TOKEN", "MAILGUN_API_KEY", "AMAZON_SES_REGION", "EMAIL_HOST")
_SES = "https://email.eu-central-1.amazonaws.com/v2/email/outbound-emails"


def mail(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, **told: str
) -> EmailMultiAlternatives:
    """Return a mail as the product has them, for the provider that the variables name."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings.MAILERS = runpy.run_module("config.settings.mail")["MAILERS"]
    made = EmailMultiAlternatives(
        "Office failed",
        "3 findings",
        "Validibot <robot@example.org>",
        ["Zoë <zoe@example.org>"],
        headers={"List-Unsubscribe": "<https://example.org/stop/>"},
    )
    made.attach_alternative("<p>3 findings</p>", "text/html")
    return made


@responses.activate
def test_postmark_gets_the_mail_with_the_server_token(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = mail(settings, monkeypatch, POSTMARK_SERVER_TOKEN="t0ken")
    answer = {"ErrorCode": 0, "Message": "OK", "MessageID": "1", "SubmittedAt": "2026-01-01"}
    responses.post("https://api.postmarkapp.com/email", json=answer)

    assert sent.send() == 1

    request = responses.calls[0].request
    body = json.loads(request.body or "")
    assert request.headers["X-Postmark-Server-Token"] == "t0ken"
    assert (body["Subject"], body["TextBody"], body["HtmlBody"]) == (
        "Office failed",
        "3 findings",
        "<p>3 findings</p>",
    )
    assert body["To"] == "Zoë <zoe@example.org>"
    assert body["Headers"] == [{"Name": "List-Unsubscribe", "Value": "<https://example.org/stop/>"}]


@responses.activate
def test_mailgun_gets_the_mail_at_the_address_and_domain_of_the_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = mail(
        settings,
        monkeypatch,
        MAILGUN_API_KEY="k3y",
        MAILGUN_SENDER_DOMAIN="mg.example.org",
        MAILGUN_API_URL="https://api.eu.mailgun.net/v3",
    )
    answer = {"id": "<1@mg.example.org>", "message": "Queued. Thank you."}
    responses.post("https://api.eu.mailgun.net/v3/mg.example.org/messages", json=answer)

    assert sent.send() == 1

    request: Any = responses.calls[0].request
    assert request.headers["Authorization"].startswith("Basic ")
    body = parse_qs(request.body)
    assert (body["subject"], body["html"]) == (["Office failed"], ["<p>3 findings</p>"])
    assert body["to"] == ["Zoë <zoe@example.org>"]
    assert body["h:List-Unsubscribe"] == ["<https://example.org/stop/>"]


def test_ses_gets_the_signed_mail_in_the_region(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[AWSPreparedRequest] = []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")

    def answer(_session: Any, request: AWSPreparedRequest) -> AWSResponse:
        requests.append(request)
        response = AWSResponse(request.url, 200, {"content-type": "application/json"}, None)
        response._content = b'{"MessageId": "1"}'
        return response

    sent = mail(settings, monkeypatch, AMAZON_SES_REGION="eu-central-1")
    with patch("botocore.httpsession.URLLib3Session.send", answer):
        assert sent.send() == 1

    assert requests[0].url == _SES
    assert b"AKIAEXAMPLE/" in requests[0].headers["Authorization"]
    body = json.loads(requests[0].body)
    assert body["Destination"] == {"ToAddresses": ["zoe@example.org"]}
    raw = message_from_bytes(base64.b64decode(body["Content"]["Raw"]["Data"]))
    assert (raw["Subject"], raw["List-Unsubscribe"]) == (
        "Office failed",
        "<https://example.org/stop/>",
    )


@responses.activate
def test_refusal_of_a_provider_is_an_error_with_its_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = mail(settings, monkeypatch, POSTMARK_SERVER_TOKEN="wrong")
    refusal = {"ErrorCode": 10, "Message": "The Server Token you provided is not valid."}
    responses.post("https://api.postmarkapp.com/email", json=refusal, status=401)

    with pytest.raises(AnymailAPIError, match="Server Token you provided is not valid"):
        sent.send()
