"""Unit tests of lenient parsing of mails."""

from email.message import EmailMessage

import pytest

from devenv.mail.mailbox import Message


def letter() -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Válidibot <bot@example.org>"
    mail["To"] = "Ann <ann@example.org>, ben@example.org"
    mail["Subject"] = "Grüße aus der Höhle"
    mail["Date"] = "Sun, 22 Nov 2026 05:47:22 +0100"
    mail.set_content("Hello\n\n  you")
    mail.add_alternative("<title>x</title><p>Hello &amp; you</p>", subtype="html")
    mail.add_attachment(b"123", maintype="application", subtype="pdf", filename="ä.pdf")
    return mail


def test_encoded_headers_are_decoded() -> None:
    message = Message(letter().as_bytes())

    assert message.header("Subject") == "Grüße aus der Höhle"
    assert message.addresses("From") == [{"Name": "Válidibot", "Address": "bot@example.org"}]
    assert [one["Address"] for one in message.addresses("To")] == [
        "ann@example.org",
        "ben@example.org",
    ]
    assert message.date() == "2026-11-22T05:47:22+01:00"


def test_bodies_and_attachments_are_separated() -> None:
    message = Message(letter().as_bytes())

    assert message.text == "Hello\n\n  you\n"
    assert "<p>Hello &amp; you</p>" in message.html
    assert [(part.filename, part.content) for part in message.attachments] == [("ä.pdf", b"123")]


def test_snippet_is_one_line_of_text() -> None:
    html_only = EmailMessage()
    html_only.set_content("<style>p {}</style><p>Hello &amp;\n you</p>", subtype="html")

    assert Message(letter().as_bytes()).snippet == "Hello you"
    assert Message(html_only.as_bytes()).snippet == "Hello & you"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"Subject: =?nope?q?=41?=\n\nx",
        b"Subject: =?utf-8?b?!!!?=\nDate: yesterday\nTo: <<>>,,\n\n",
        b"Content-Type: text/plain; charset=nope\n\n\xff",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b"Content-Transfer-Encoding: base64\n\n!!!",
        b"Date: Sun, 99 Nov 99999 05:47:22 +9999\n\n",
    ],
)
def test_malformed_mail_can_be_shown(raw: bytes) -> None:
    message = Message(raw)

    assert isinstance(
        message.text + message.snippet + message.date() + message.header("Subject"), str
    )
    assert isinstance([message.headers(), message.addresses("To"), message.attachments], list)


def test_deeply_nested_mail_can_be_shown() -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (depth, depth)
        for depth in range(2000)
    )

    assert isinstance(Message(nested).text, str)
