"""Codes of the API on pages and in mails: people read words."""

import re
from itertools import product
from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation import override

from tests.factories import FindingFactory, RunFactory, StepFactory, StepRunFactory, WorkflowFactory
from tests.unit.validibot.web.test_notifications import noted
from validibot.accounts.models import Membership
from validibot.core.words import WORDS, word_of
from validibot.notifications.mails import digest_of, mail_of
from validibot.runs.states import (
    RUN,
    ErrorCategory,
    RunStatus,
    StepStatus,
    public_result,
    public_state,
    terminal,
)
from validibot.workflows.models import Severity

ROOT = Path(__file__).parents[4] / "validibot"
CODES = {
    *Severity.values,
    *StepStatus.values,
    *(public_state(each) for each in RunStatus),
    *(public_result(*each) for each in product(sorted(terminal(RUN)), ErrorCategory)),
} - {"COMPLETED"}
OF_PAGES = {"HELD", "ON", "OFF", "FAILING", "EXPIRED", "REVOKED"}  # no code of the API
# A code between tags, alone in an attribute that people see, or in the text of a mail.
SHOWN = re.compile(rf"(?:>|title=\"|\b[0-9]+ |: )\s*(?:{'|'.join(sorted(CODES))})\b(?!['/])")
PRINTED = re.compile(r"\{\{ *(?:\w+\.)+(?:state|status|result|severity) *\}\}")
HIDDEN = re.compile(r"""(?:data-[a-z]+|value)=["']\{\{[^}]*\}\}["']""")


def test_each_code_has_a_word_in_each_language() -> None:
    for language in ("en", "de"):
        with override(language):
            words = {code: word_of(code) for code in CODES | OF_PAGES}
        assert all(word.isupper() is False for word in words.values())
    assert set(words) == set(WORDS)
    assert words["SKIPPED"] == "Übersprungen"
    assert word_of("OF_LATER") == "OF_LATER"


def test_no_template_prints_a_code() -> None:
    files = [*ROOT.rglob("*.html"), *ROOT.rglob("*.txt"), *ROOT.rglob("*.svg")]
    found = [
        (path.name, printed)
        for path in files
        for printed in PRINTED.findall(HIDDEN.sub("", path.read_text(encoding="utf-8")))
    ]

    assert len(files) > 100
    assert found == []


@pytest.mark.django_db
def test_pages_and_mails_of_each_state_show_no_code(client: Client, member: Membership) -> None:
    workflow = WorkflowFactory.create(organisation=member.organisation, author=member.user)
    runs = {status: RunFactory.create(workflow=workflow, status=status) for status in RunStatus}
    for order, status in enumerate(StepStatus, start=1):
        ran = StepRunFactory.create(
            run=runs[RunStatus.RUNNING],
            step=StepFactory.create(workflow=workflow, order=order),
            status=status,
        )
        for severity in Severity:
            FindingFactory.create(step_run=ran, severity=severity)
    notes = [noted(member, result=result) for result in sorted(CODES)]
    here = f"/app/orgs/{member.organisation.slug}"
    paths = [f"{here}/runs/{run.pk}/" for run in runs.values()]
    trial = f"{here}/workflows/{workflow.slug}/trials/{runs[RunStatus.PENDING].pk}/"
    runs[RunStatus.PENDING].source = "TRIAL"
    runs[RunStatus.PENDING].save()
    shown = {}
    for path in (
        *paths,
        trial,
        f"{paths[1]}steps/1/findings/",
        f"{here}/runs/",
        "/app/users/notifications/",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        shown[path] = answer.content.decode()
    for mail in (mail_of(notes[0]), digest_of(notes, dict.fromkeys(CODES, 2))):
        shown[str(mail.subject)] = f"{mail.subject}\n{mail.body}\n{mail.alternatives[0]}"

    assert {name: SHOWN.findall(text) for name, text in shown.items() if SHOWN.search(text)} == {}
    assert "Skipped" in shown[paths[1]]
