"""`manage.py export_run`: a run as a file, and a clear error instead of half a file."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.factories import FindingFactory, RunFactory, StepRunFactory
from validibot.runs.exports import FORMATS
from validibot.runs.management.commands import export_run
from validibot.runs.models import Run
from validibot.runs.verification import verify

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    run: Run = RunFactory.create(
        status="FAILED", error_category="VALIDATION_FAILED", ended_at=timezone.now()
    )
    FindingFactory.create(step_run=StepRunFactory.create(run=run, status="FAILED"))
    return run


@pytest.mark.parametrize("kind", FORMATS)
def test_kind_follows_end_of_output(run: Run, tmp_path: Path, kind: str) -> None:
    output = tmp_path / f"run.{FORMATS[kind].extension}"
    output.write_text("replaced")

    call_command("export_run", run.pk, output=output)

    assert output.read_bytes() == FORMATS[kind].write(run)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_exported_bundle_is_valid_and_reported_as_json(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "everything"

    call_command("export_run", run.pk, output=output, kind="bundle", json=True)

    assert verify(output).is_valid
    done = json.loads(capsys.readouterr().out)
    content = output.read_bytes()
    assert done == {
        "run": str(run.pk),
        "kind": "bundle",
        "output": str(output),
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_exports_to_the_same_file_at_once_do_not_mix(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run.zip"

    def interrupted(_: Run) -> Iterator[bytes]:
        yield b"the first half, "
        with monkeypatch.context() as other:
            other.setattr(export_run, "write_bundle", lambda _: iter([b"another export"]))
            call_command("export_run", run.pk, output=output)
        assert output.read_bytes() == b"another export"
        yield b"the second half"

    monkeypatch.setattr(export_run, "write_bundle", interrupted)
    call_command("export_run", run.pk, output=output)

    assert output.read_bytes() == b"the first half, the second half"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("wanted", "output", "message"),
    [
        ("", "run.docx", "does not end with one of .html, .pdf, .csv"),
        ("seven", "run.csv", "'seven' is no id of a run"),
        ("00000000-0000-4000-8000-000000000000", "run.csv", "There is no run"),
        ("", "none/run.csv", "cannot be written: No such file"),
        ("", "folder.csv", "is not a file"),
    ],
)
def test_bad_argument_is_named(
    run: Run, tmp_path: Path, wanted: str, output: str, message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(CommandError, match=message):
        call_command("export_run", wanted or run.pk, output=tmp_path / output)


def test_unfinished_run_is_not_exported(tmp_path: Path) -> None:
    run = RunFactory.create(status="RUNNING")

    with pytest.raises(CommandError, match=r"has not ended \(RUNNING\)"):
        call_command("export_run", run.pk, output=tmp_path / "run.csv")

    assert not list(tmp_path.iterdir())
