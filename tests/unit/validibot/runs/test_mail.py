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


@pytest.mark.parametrize("sentence", ["", "373 kWh/m² > 200 & more."])
def test_mail_tells_result_reason_and_page(sentence: str) -> None:
    run_finished(
        recipient="ada@example.org",
        filename="<b>.json",
        workflow="People",
        result="FAIL",
        sentence=sentence,
        url="https://validibot.example/runs/1/",
    )

    (sent,) = mail.outbox
    lines = [line for line in str(sent.body).splitlines() if line]
    assert lines == [
        "<b>.json went through People: FAIL.",
        *[sentence] * bool(sentence),
        "Findings and artifacts: https://validibot.example/runs/1/",
    ]
    assert isinstance(sent, mail.EmailMultiAlternatives)
    ((content, media_type),) = sent.alternatives
    page = str(content)
    assert media_type == "text/html"
    assert "<strong>&lt;b&gt;.json</strong>" in page
    assert ("373 kWh/m² &gt; 200 &amp; more." in page) == bool(sentence)
    assert 'href="https://validibot.example/runs/1/"' in page
