"""Addresses of files in rows after a move, and the end of what is in progress before it."""

import io
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import (
    ArtifactFactory,
    AttemptFactory,
    CallbackReceiptFactory,
    StepFileFactory,
    StepRunFactory,
    SubmissionFactory,
)
from validibot.core.models import Deployment, Maintenance
from validibot.runs.purge import MARKER
from validibot.runs.states import AttemptState
from validibot.setup.moving import MoveError
from validibot.setup.moving.addresses import OF_ONE_FILE, WITHOUT_VERSION
from validibot.setup.moving.drain import drain
from validibot.workflows.models import WeatherFile

pytestmark = pytest.mark.django_db
OLD = "gs://old-bucket"


@pytest.fixture
def target(settings: Settings, tmp_path: Path) -> Path:
    """The folder of this installation, with two files that were moved there."""
    settings.DATA_ROOT = tmp_path.as_uri()
    for name in ("runs/a b.csv", "library/w.epw"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"0123456789")
    return tmp_path


def change_addresses(*options: str) -> str:
    output = io.StringIO()
    call_command("move", "addresses", OLD, *options, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def test_every_column_with_an_address_is_changed() -> None:
    known = {(model, "uri") for model in OF_ONE_FILE} | set(WITHOUT_VERSION)
    columns = (
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.name.endswith("uri")
    )

    assert set(columns) == known


def test_rows_get_new_address_and_version(target: Path) -> None:
    artifact = ArtifactFactory.create(uri=f"{OLD}/runs/a b.csv", storage_version="17")
    receipt = CallbackReceiptFactory.create(result_uri=f"{OLD}/runs/1/output.json")
    removed = SubmissionFactory.create(inline=None, uri=f"{OLD}/submissions/1/removed")
    file = {"uri": f"{OLD}/library/w.epw", "storage_version": "3", "size_bytes": 10, "sha256": "ab"}
    weather = WeatherFile.objects.create(name="w", files=[file])
    step = StepRunFactory.create(weather={"name": "w", "files": [file]})

    said = change_addresses()

    for row in (artifact, receipt, removed, weather, step):
        row.refresh_from_db()
    root = target.as_uri()
    assert said.startswith("Addresses changed: 5; files missing: 0; addresses elsewhere: 0.")
    assert artifact.uri == f"{root}/runs/a%20b.csv"
    assert artifact.storage_version == f"sha256:{artifact.sha256}"
    assert receipt.result_uri == f"{root}/runs/1/output.json"
    assert (removed.uri, removed.storage_version) == (f"{root}/submissions/1/removed", "")
    moved = file | {"uri": f"{root}/library/w.epw", "storage_version": "sha256:ab"}
    assert (weather.files, step.weather) == ([moved], {"name": "w", "files": [moved]})
    own = Deployment.objects.get(id=1).database_id
    assert (target / MARKER).read_text() == str(own)


def test_missing_and_damaged_files_are_named_and_keep_their_address(target: Path) -> None:
    lost = StepFileFactory.create(uri=f"{OLD}/library/lost")
    cut = ArtifactFactory.create(uri=f"{OLD}/runs/a b.csv", size_bytes=11)
    ArtifactFactory.create(uri="gs://third/x")

    with pytest.raises(CommandError) as error:
        change_addresses()

    assert "library/lost is missing" in str(error.value)
    assert "a%20b.csv has 10 bytes, not the 11 of its row" in str(error.value)
    lost.refresh_from_db()
    assert (lost.uri, cut.uri) == (f"{OLD}/library/lost", f"{OLD}/runs/a b.csv")
    assert not (target / MARKER).exists()

    assert "files missing: 2" in change_addresses("--allow-missing")
    assert (target / MARKER).exists()


def test_addresses_below_another_root_are_named_and_refused(target: Path) -> None:
    artifact = ArtifactFactory.create(uri="gs://old-bukcet/runs/a b.csv", storage_version="17")

    with pytest.raises(CommandError, match=r"such as gs://old-bukcet/runs/a b\.csv"):
        change_addresses()

    assert not (target / MARKER).exists()
    assert "addresses elsewhere: 1" in change_addresses("--allow-missing")
    artifact.refresh_from_db()
    assert artifact.storage_version == "17"


def test_drain_without_maintenance_is_refused() -> None:
    with pytest.raises(CommandError, match=r"manage\.py maintenance on"):
        call_command("move", "drain")


def test_drain_waits_for_executions_to_end() -> None:
    Maintenance.objects.create(id=1)
    attempt = AttemptFactory.create(state=AttemptState.RUNNING)
    seen: list[dict[str, int]] = []

    def end(_: float) -> None:
        type(attempt).objects.update(state=AttemptState.COMPLETED)

    drain(seconds=60, progress=seen.append, clock=lambda: 0.0, sleep=end)

    assert seen == [{"executions of validators": 1}]


def test_drain_names_what_does_not_end_in_time() -> None:
    Maintenance.objects.create(id=1)
    AttemptFactory.create(state=AttemptState.RUNNING)

    with pytest.raises(MoveError, match="After 0 s there are still 1 executions of validators"):
        drain(seconds=0, progress=lambda left: None, sleep=lambda seconds: None)
