"""The report as PDF: the run's content in bounded size, where every text is data."""

import io
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.utils import translation
from pypdf import PdfReader

from tests.factories import (
    ArtifactFactory,
    FindingFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    ValidatorFactory,
)
from validibot.core.storage import get_storage
from validibot.runs import pdf
from validibot.runs.evidence import evidence_of
from validibot.runs.models import Run, StepRun
from validibot.runs.pdf import as_pdf

pytestmark = pytest.mark.django_db

MARKUP = '<b>&amp;<img src="http://a.example/x.png"/></para>'
SERIES = b"time [s],speed [m/s]\n0,1\n1,2\n2,nan\n3,1\n"


@pytest.fixture
def run() -> Run:
    run: Run = RunFactory.create(
        status="FAILED",
        error_category="VALIDATION_FAILED",
        ended_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    )
    validator = ValidatorFactory.create(
        outputs=[{"slug": "eui", "label": "Energy use", "unit": "kWh/m²"}]
    )
    step = StepFactory.create(workflow=run.workflow, validator=validator, name="Schema")
    StepRunFactory.create(run=run, step=step, status="FAILED", outputs={"eui": 373.25})
    return run


@pytest.fixture
def step(run: Run) -> StepRun:
    return run.steps.get()


def text_of(document: bytes) -> str:
    """Return the text of all pages, in which a line may end anywhere."""
    pages = PdfReader(io.BytesIO(document), strict=True).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_pdf_has_verdict_findings_outputs_and_evidence(run: Run, step: StepRun) -> None:
    for number in range(7):
        FindingFactory.create(
            step_run=step, code="minimum", message=f"{number} is low", path="/a", line=7
        )

    text = text_of(as_pdf(run))

    assert "Failed The file does not satisfy the workflow." in text
    assert "Step 1 Schema: 0 is low" in text
    assert "Error · 7 · minimum" in text
    assert "4 is low /a, line 7" in text
    assert "and 2 more" in text
    assert "2 of 7 findings are left out here." in text
    assert "Energy use 373.2 kWh/m²" in text
    assert evidence_of(run).contents_sha256 in text
    assert "Page 1 of 1" in text


def test_pdf_has_title_language_outline_and_times_of_the_run(run: Run) -> None:
    with translation.override("de"):
        reader = PdfReader(io.BytesIO(as_pdf(run)))

    about = reader.metadata
    assert about is not None
    assert about.title == f"Nicht bestanden: {run.submission.shown_filename}"
    assert about.creation_date == about.modification_date == run.ended_at
    assert str(reader.root_object["/Lang"]) == "de"
    assert "1. Schema" in str(reader.outline[0])
    assert "Seite 1 von 1" in " ".join(reader.pages[0].extract_text().split())


def test_pdf_of_same_run_has_same_bytes(run: Run, step: StepRun) -> None:
    FindingFactory.create(step_run=step, message="Zoë, Ω, ж")

    assert as_pdf(run) == as_pdf(run)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (MARKUP, MARKUP),
        ("%(count)s {0} %s", "%(count)s {0} %s"),
        ("größer als Ω, меньше, ≤", "größer als Ω, меньше, ≤"),
        ("नमस्ते \U0001f600 \x07", "□ □ □"),
        ("温度 < 20℃ 过高", "温度 < 20℃ 过高"),
        ("屋根の断熱 & 窓", "屋根の断熱 & 窓"),
        ("지붕 단열 屋", "지붕 단열 屋"),
        ("a" * 5000, "…"),
        ("\n" * 5000, "…"),
        ("long " * 900, "…"),
    ],
)
def test_pdf_shows_any_text_as_it_is(run: Run, step: StepRun, message: str, expected: str) -> None:
    FindingFactory.create(step_run=step, message=message, code=message[:50], path=message)
    run.submission.filename = message[:50]
    run.submission.save()

    assert "".join(expected.split()) in "".join(text_of(as_pdf(run)).split())


def test_pdf_is_bounded_and_says_what_is_left_out(
    run: Run, step: StepRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in (("RULES", 3), ("FINDINGS", 2), ("OUTPUTS", 1), ("FILES", 1)):
        monkeypatch.setattr(pdf, f"MAX_{name}", limit)
    for number in range(5):
        FindingFactory.create(step_run=step, code=f"rule-{number}")
        ArtifactFactory.create(step_run=step, type="file", name=f"file-{number}")
    StepRun.objects.filter(pk=step.pk).update(outputs={"eui": 1, "second": 2})

    text = text_of(as_pdf(run))

    assert "3 of 5 findings are left out here." in text
    assert "Error · 1 · rule-2 2 further rules with findings: 2" in text
    assert "and 4 more" in text
    assert ("file-0" in text, "file-1" in text, "rule-3" in text) == (True, False, False)


def test_pdf_draws_time_series(run: Run, step: StepRun) -> None:
    uri = f"{settings.DATA_ROOT}/{run.pk}/speed.csv"
    stored = get_storage(uri).create(uri, SERIES, mime_type="text/csv")
    ArtifactFactory.create(step_run=step, name="speed.csv", uri=uri, storage_version=stored.version)
    ArtifactFactory.create(step_run=step, name="gone.csv")

    text = text_of(as_pdf(run))

    assert "Time series of speed.csv" in text
    assert "Values in m/s Least Greatest ■ speed 1 2" in text
    assert "gone.csv is not kept any more" in text


def test_pdf_of_many_pages_numbers_each(run: Run, step: StepRun) -> None:
    for number in range(60):
        FindingFactory.create(step_run=step, code=f"rule-{number}", message="long " * 40)

    reader = PdfReader(io.BytesIO(as_pdf(run)))

    total = len(reader.pages)
    assert total > 2
    for number, page in enumerate(reader.pages, start=1):
        assert f"Page {number} of {total}" in " ".join(page.extract_text().split())
