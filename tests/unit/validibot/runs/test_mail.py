"""Unit tests of the mail about a finished run."""

import pytest
from django.core import mail

from validibot.runs.tasks import run_finished


@pytest.mark.parametrize("character", ["\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"])
def test_file_name_cannot_break_mail_subject(character: str) -> None:
    run_finished(
        recipient="ada@example.org",
        filename=f"a{character}Bcc: all@example.org",
        workflow="People",
        result="PASS",
        sentence="",
        url="https://validibot.example/",
    )

    (sent,) = mail.outbox
    assert sent.message()["Subject"] == "PASS: a Bcc: all@example.org · People"
    assert sent.recipients() == ["ada@example.org"]
