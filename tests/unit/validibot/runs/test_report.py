"""The report of a run: complete in itself, with true counts, and nothing of the input is markup."""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from tests.factories import (
    ArtifactFactory,
    FindingFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    ValidatorFactory,
)
from validibot.core.storage import get_storage
from validibot.runs import report
from validibot.runs.evidence import evidence_of
from validibot.runs.models import Run
from validibot.runs.report import as_html

pytestmark = pytest.mark.django_db

MARKUP = "<script>alert(1)</script>"
# Meters of two months, as EnergyPlus writes them.
METERS = b"Date/Time,Heating:Gas [J](Monthly)\n01/31 24:00,3.6e6\n02/28 24:00,7.2e6\n"


class PageText(HTMLParser):
    """The text of a page, its elements, and the addresses that it names."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(page.decode())
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "style")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def run() -> Run:
    run: Run = RunFactory.create(
        status="FAILED", error_category="VALIDATION_FAILED", ended_at=timezone.now()
    )
    run.submission.filename = f"{MARKUP}.json"
    run.submission.save()
    validator = ValidatorFactory.create(
        outputs=[{"slug": "eui", "label": "Energy use", "unit": "kWh/m²"}]
    )
    step = StepFactory.create(workflow=run.workflow, validator=validator, name="Schema")
    first = StepRunFactory.create(
        run=run, step=step, status="FAILED", outputs={"eui": 373.25, "list": [MARKUP, 1.5]}
    )
    for number in range(7):
        FindingFactory.create(
            step_run=first, code="minimum", message=f"{number} {MARKUP}", path="/a", line=7
        )
    FindingFactory.create(
        step_run=first, severity="INFO", code="problems.truncated", message="9 more."
    )
    ArtifactFactory.create(step_run=first, name=MARKUP, type="file")
    StepRunFactory.create(
        run=run,
        step=StepFactory.create(workflow=run.workflow, name="Energy", order=2),
        status="SKIPPED",
    )
    return run


def test_report_is_one_page_without_scripts_or_addresses(run: Run) -> None:
    page = PageText(as_html(run))

    assert not page.elements & {"script", "link", "img", "iframe", "a"}
    assert page.addresses == []
    assert MARKUP in page.text


def test_report_shows_verdict_counts_outputs_and_evidence(run: Run) -> None:
    text = PageText(as_html(run)).text

    assert "Failed The file does not satisfy the workflow." in text
    assert f"Step 1 Schema: 0 {MARKUP}" in text
    assert "1. Schema: Failed" in text
    assert "7 errors" in text
    assert "Error 7 minimum" in text
    assert "and 2 more" in text
    assert "line 7" in text
    assert "9 more." in text
    assert "Energy use 373.2 kWh/m²" in text
    assert "2. Energy: Skipped" in text
    assert text.count(evidence_of(run).contents_sha256) == 2
    assert run.submission.sha256 in text


def test_report_of_same_run_has_same_bytes(run: Run) -> None:
    assert as_html(run) == as_html(run)


def test_report_of_unfinished_run_says_so(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(status="RUNNING", ended_at=None, error_category="")

    page = PageText(as_html(Run.objects.get(pk=run.pk)))

    assert "Running The run had not ended when this report was made." in page.text
    assert "Evidence" not in page.text


def test_report_needs_few_queries_for_many_rules(
    run: Run, django_assert_max_num_queries: Any
) -> None:
    step = run.steps.get(order=1)
    for number in range(30):
        FindingFactory.create(step_run=step, code=f"rule-{number}")
    evidence_of(run)
    run = Run.objects.select_related("workflow", "submission").get(pk=run.pk)

    with django_assert_max_num_queries(6):
        assert as_html(run).count(b"<code>rule-") == 30


def series_of(run: Run, content: bytes, *, name: str = "meters.csv") -> None:
    """Add a file with a time series to the first step of the run."""
    uri = f"{settings.DATA_ROOT}/{run.pk}/{name}"
    stored = get_storage(uri).create(uri, content, mime_type="text/csv")
    ArtifactFactory.create(
        step_run=run.steps.get(order=1), name=name, uri=uri, storage_version=stored.version
    )


def test_report_draws_time_series(run: Run) -> None:
    series_of(run, METERS)

    page = as_html(run)

    assert b"<polyline points=" in page
    assert "Energy by month" in PageText(page).text
    assert "Time series of meters.csv" in PageText(page).text
    assert PageText(page).addresses == []


def test_report_names_time_series_that_is_gone_or_cut(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_SERIES", 3)
    monkeypatch.setattr(report, "MAX_SERIES_BYTES", len(METERS) + 50)
    ArtifactFactory.create(step_run=run.steps.get(order=1), name="a.csv")
    for name in ("b.csv", "c.csv", "d.csv"):
        series_of(run, METERS, name=name)

    text = PageText(as_html(run)).text

    assert "a.csv is not kept any more" in text
    assert "Only the beginning of c.csv is drawn" in text
    assert "1 further time series is not drawn." in text
