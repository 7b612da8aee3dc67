"""Filters that put a run into words."""

import pytest
from django.utils.translation import override

from validibot.runs.models import Run, RunEvent
from validibot.runs.states import RunStatus
from validibot.web.templatetags.runpage import headline, sentence_case, verdict


@pytest.mark.parametrize(
    ("language", "title", "expected"),
    [("en", "Current Password", "Current password"), ("de", "neues Passwort", "Neues Passwort")],
)
def test_sentence_case_keeps_nouns_of_german(language: str, title: str, expected: str) -> None:
    with override(language):
        assert sentence_case(title) == expected


def test_verdict_and_events_follow_the_language() -> None:
    run = Run(status=RunStatus.CANCELED)
    with override("de"):
        assert verdict(run) == "Abgebrochen"
        assert headline(RunEvent(kind="called_back")) == "zurückgemeldet"
    with override("en"):
        assert headline(RunEvent(kind="of_later")) == "of later"
