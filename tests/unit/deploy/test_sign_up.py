"""The check that signs up, against pages and mailboxes that are played."""

from email.message import EmailMessage
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
import responses

from deploy.errors import DeployError
from deploy.mailbox import VerifyMailbox, mailbox_of
from deploy.sign_up import sign_up_check
from deploy.verify import CheckFailed

WEB = "https://web.example.org"
LAYOUT: Any = Mock(names=Mock(web_url=WEB, site_url="https://runs.example.org"))
FORM = '<input type="hidden" name="csrfmiddlewaretoken" value="token">'
LINK = "/accounts/confirm-email/abc/"


def played(text: str | None) -> VerifyMailbox:
    return Mock(spec=VerifyMailbox, address=lambda word: "me@example.org", text_to=lambda to: text)


def page(path: str, body: str = FORM, *, leads_to: str = "") -> None:
    responses.get(f"{WEB}{path}", body=body)
    if leads_to:
        responses.post(f"{WEB}{path}", status=302, headers={"Location": leads_to})


@responses.activate
def test_new_user_confirms_signs_in_and_is_deleted() -> None:
    page("/accounts/signup/", leads_to="/accounts/confirm-email/")
    page(LINK, leads_to="/accounts/login/")
    page("/accounts/login/", leads_to="/app/")
    page("/app/", "workspace")
    page("/app/users/delete/", leads_to="/accounts/login/")

    sign_up_check(LAYOUT, played(f"Click https://runs.example.org{LINK}"), 0).run()

    assert (
        responses.calls[-1].request.body
        == "confirmation=me%40example.org&csrfmiddlewaretoken=token"
    )


@responses.activate
@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("closed", None, "sign-up is closed or by invitation"),
        (FORM, None, "no mail to me@example.org arrived within 0 s"),
        (FORM, "hello", "the mail has no link"),
        (
            FORM,
            f"http://localhost{LINK}",
            "leads to http://localhost, not to https://runs.example.org",
        ),
    ],
)
def test_failed_sign_up_names_what_is_wrong(form: str, text: str | None, message: str) -> None:
    page("/accounts/signup/", form, leads_to="/accounts/confirm-email/")

    with pytest.raises(CheckFailed, match=message):
        sign_up_check(LAYOUT, played(text), 0).run()


@responses.activate
def test_form_that_is_shown_again_fails_the_check() -> None:
    page("/accounts/signup/")
    responses.post(f"{WEB}/accounts/signup/", status=200)

    with pytest.raises(CheckFailed, match="is answered 200, not 302"):
        sign_up_check(LAYOUT, played(None), 0).run()


@responses.activate
def test_mail_catcher_gives_the_mail_of_its_address() -> None:
    listed = [{"ID": "1", "To": [{"Address": "other"}]}, {"ID": "2", "To": [{"Address": "me"}]}]
    responses.get("http://mail/api/v1/messages", json={"messages": listed})
    responses.get("http://mail/api/v1/message/2", json={"Text": "hello"})
    mailbox = mailbox_of("http://mail/")

    assert (mailbox.text_to("me"), mailbox.text_to("nobody")) == ("hello", None)


def test_inbox_is_searched_for_an_address_with_a_plus(monkeypatch: pytest.MonkeyPatch) -> None:
    message = EmailMessage()
    message.set_content("hello")
    inbox = MagicMock()
    inbox.__enter__.return_value = inbox
    inbox.search.return_value = ("OK", [b"3 7"])
    inbox.fetch.return_value = ("OK", [(b"7 (RFC822 {1}", message.as_bytes()), b")"])
    monkeypatch.setattr("imaplib.IMAP4_SSL", Mock(return_value=inbox))
    mailbox = mailbox_of("imaps://checks%40example.org:s%2Fcret@imap.example.org")
    address = mailbox.address("1")

    assert mailbox.text_to(address) == "hello\n"
    assert address == "checks+verify-1@example.org"
    inbox.login.assert_called_with("checks@example.org", "s/cret")
    inbox.search.assert_called_with(None, "TO", f'"{address}"')
    inbox.fetch.assert_called_with("7", "(RFC822)")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("imaps://me:secret@host", "needs a user with its domain"),
        ("pop3://me@host", "has the scheme 'pop3'; it must be http"),
        ("mail", "has the scheme ''"),
        ("imaps://me%40here:secret/1@host", "no valid host and port"),
        ("http://[host", "no valid host and port"),
    ],
)
def test_wrong_mailbox_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(DeployError, match=message) as error:
        mailbox_of(url)

    assert "secret" not in str(error.value)
