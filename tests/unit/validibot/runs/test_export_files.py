"""Exports that a task makes: once, as a file, for as long as it is kept."""

import datetime as dt
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
from django.template import Context, Engine
from django.template.loader_tags import IncludeNode
from django.utils import timezone, translation

from config.settings import base
from tests.checkout import ROOT
from tests.factories import RunFactory, UserFactory
from validators.sdk.storage.file import FileStorage
from validibot.core.storage import StorageError, get_storage
from validibot.dispatch import TryLater
from validibot.runs import export_files
from validibot.runs.deletion import delete_runs, delete_user
from validibot.runs.export_files import (
    BUNDLE,
    ExportKind,
    lost_exports,
    make_export,
    open_export,
    remove_exports,
    request_account_export,
    request_export,
)
from validibot.runs.models import ExportFile, ExportState, Run
from validibot.runs.purge import purge
from validibot.submissions import content

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def root(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_ROOT = tmp_path.as_uri()
    return tmp_path


@pytest.fixture
def run() -> Run:
    made: Run = RunFactory.create(status="SUCCEEDED", ended_at=timezone.now())
    return made


def made(run: Run, kind: str = BUNDLE) -> ExportFile:
    """Return an export whose task was delivered."""
    export = request_export(run, kind)
    make_export.call(str(export.pk))
    export.refresh_from_db()
    return export


def fail(_: Any) -> NoReturn:
    raise ZeroDivisionError


def unreachable(_: Any) -> NoReturn:
    raise StorageError("away")


def try_later() -> NoReturn:
    raise TryLater("executions go on")


def use(monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    monkeypatch.setitem(export_files.KINDS, BUNDLE, ExportKind("zip", write))


def test_export_is_made_once_for_each_language(run: Run) -> None:
    first = made(run, "html")
    again = made(run, "html")
    with translation.override("de"):
        german = made(run, "html")

    assert (first.state, first.pk) == (ExportState.READY, again.pk)
    assert b'lang="en"' in b"".join(open_export(first) or [])
    assert b'lang="de"' in b"".join(open_export(german) or [])
    assert made(run).language == ""


def test_worker_has_the_templates_of_reports() -> None:
    assert "django.contrib.humanize" in base.WORKER_APPS
    ours = [each for each in base.WORKER_APPS if each.startswith("validibot.")]
    folders = {each: ROOT.joinpath(*each.split(".")) for each in ours}
    libraries = {
        "humanize": "django.contrib.humanize.templatetags.humanize",
        "i18n": "django.templatetags.i18n",
        "l10n": "django.templatetags.l10n",
    } | {
        path.stem: f"{app}.templatetags.{path.stem}"
        for app, folder in folders.items()
        for path in folder.glob("templatetags/[a-z]*.py")
    }
    templates = [str(folder / "templates") for folder in folders.values()]
    engine = Engine(dirs=templates, libraries=libraries)
    report = engine.get_template("runs/report.html")

    for include in report.nodelist.get_nodes_by_type(IncludeNode):
        assert isinstance(include, IncludeNode)
        engine.get_template(include.template.resolve(Context()))


def test_second_delivery_leaves_the_file(run: Run, root: Path) -> None:
    export = made(run)
    make_export.call(str(export.pk))

    assert [each.suffix for each in root.rglob("*") if each.is_file()] == [".zip"]
    assert zipfile.ZipFile(io.BytesIO(b"".join(open_export(export) or []))).testzip() is None


def test_export_removed_while_it_is_made_leaves_no_file(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(_: Run) -> Iterator[bytes]:
        ExportFile.objects.all().delete()
        yield b"zip"

    use(monkeypatch, removed)
    make_export.call(str(request_export(run, BUNDLE).pk))

    assert not [each for each in root.rglob("*") if each.is_file()]


def test_file_that_is_finished_during_its_removal_goes_as_well(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task ends between the deletion of the files and that of the rows."""
    user = UserFactory.create()
    delete_below = FileStorage.delete_below

    def finish_late(storage: FileStorage, uri: str) -> int:
        deleted = delete_below(storage, uri)
        for export in ExportFile.objects.all():
            make_export.call(str(export.pk))
        return deleted

    monkeypatch.setattr(FileStorage, "delete_below", finish_late)
    request_export(run, BUNDLE)
    remove_exports(ExportFile.objects.all())
    request_account_export(user)
    delete_user.func(user.pk, 0)
    request_export(run, BUNDLE)
    delete_runs(Run.objects.all())

    assert not [each for each in root.rglob("*") if each.is_file()]


def test_killed_task_leaves_no_archive_of_deleted_account(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is deleted while its archive is written, and the writer cannot delete the file."""
    user = UserFactory.create()
    export = request_account_export(user)
    create = FileStorage.create_streamed

    def create_late(*args: Any, **kwargs: Any) -> Any:
        delete_user.func(user.pk, 0)
        return create(*args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(FileStorage, "create_streamed", create_late)
        broken.setattr(FileStorage, "delete", lambda *_: unreachable(None))
        with pytest.raises(TryLater):
            make_export.call(str(export.pk), export.folder)
    assert [each for each in root.rglob("*") if each.is_file()]
    make_export.call(str(export.pk), export.folder)

    assert not [each for each in root.rglob("*") if each.is_file()]


def test_archive_is_deleted_before_executions_of_the_workspace_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = request_account_export(UserFactory.create())
    make_export.call(str(export.pk), export.folder)
    monkeypatch.setattr("validibot.runs.deletion.delete_runs", lambda _: try_later())

    with pytest.raises(TryLater):
        delete_user.func(export.user_id, 1)

    assert not [each for each in root.rglob("*") if each.is_file()]


def test_old_files_of_exports_without_rows_are_removed(run: Run, root: Path) -> None:
    owner, long_ago = run.organisation_id, (timezone.now() - dt.timedelta(days=400)).timestamp()
    folders = [
        made(run, "html").folder,
        f"{root.as_uri()}/runs/{owner}/{run.pk}/exports/{uuid4()}/",
        f"{root.as_uri()}/accounts/{owner}/{uuid4()}/",
    ]
    files = [get_storage(root.as_uri()).create(f"{each}a", b"x", mime_type="") for each in folders]
    for each in files:
        os.utime(each.uri.removeprefix("file://"), (long_ago, long_ago))

    assert purge()["orphaned_files"] == 2
    left = [get_storage(each.uri).current(each.uri) is not None for each in files]
    assert left == [True, False, False]


def test_failed_export_is_made_again_a_minute_later(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        use(broken, fail)
        failed = made(run)
    assert failed.state == ExportState.FAILED
    assert made(run).pk == failed.pk

    ExportFile.objects.update(requested_at=timezone.now() - dt.timedelta(seconds=61))
    assert made(run).state == ExportState.READY


def test_outage_of_storage_is_no_failed_try(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    export = request_export(run, BUNDLE)
    use(monkeypatch, unreachable)

    with pytest.raises(TryLater):
        make_export.call(str(export.pk))

    assert ExportFile.objects.values_list("state", "tries").get() == ("PENDING", 0)


def test_export_that_ends_its_process_is_given_up(run: Run) -> None:
    export = request_export(run, BUNDLE)
    ExportFile.objects.update(tries=export_files.MAX_TRIES)

    make_export.call(str(export.pk))

    export.refresh_from_db()
    assert export.state == ExportState.FAILED


def test_lost_export_is_enqueued_and_given_up_after_a_day(run: Run) -> None:
    export, now = request_export(run, BUNDLE), timezone.now()

    assert lost_exports(now, limit=9) == []
    assert lost_exports(now + dt.timedelta(hours=2), limit=9) == [
        (str(export.pk), f"export-{export.pk}-2")
    ]
    assert lost_exports(now + dt.timedelta(hours=25), limit=9) == []
    export.refresh_from_db()
    assert export.state == ExportState.FAILED


def test_archive_goes_with_the_submitted_file(run: Run) -> None:
    archive, report = made(run), made(run, "html")
    content.remove(run.submission)

    assert purge()["stale_exports"] == 1
    assert get_storage(archive.uri).current(archive.uri) is None
    assert list(ExportFile.objects.values_list("pk", flat=True)) == [report.pk]


def test_lost_file_is_made_anew(run: Run) -> None:
    export = made(run)
    get_storage(export.uri).delete(export.uri)

    assert open_export(export) is None
    assert open_export(made(run)) is not None


def test_retention_and_deletion_remove_files(run: Run, root: Path) -> None:
    made(run)
    ExportFile.objects.update(requested_at=timezone.now() - dt.timedelta(days=8))
    user = UserFactory.create()

    assert purge()["exports"] == 1
    made(run)
    make_export.call(str(request_account_export(user).pk))
    delete_runs(Run.objects.all())
    delete_user.func(user.pk, 0)

    assert not [each for each in root.rglob("*") if each.is_file() and each.name != "database-id"]
    assert not ExportFile.objects.exists()
