"""Move of files between folders: what is copied, compared, refused and resumed."""

import io
import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import RunFactory
from validibot.core.models import Deployment
from validibot.runs.purge import MARKER
from validibot.setup.moving.bar import ProgressBar, size_text
from validibot.setup.moving.places import FolderPlace, PlacedFile, place_of

pytestmark = pytest.mark.django_db
FILES = {"runs/1/a b.csv": b"a,b", "submissions/1/ä.json": b"{}", "library/x/empty": b""}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files of another installation, with what is left out: a link, a file being written, media."""
    folder = tmp_path / "source"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (folder / "link").symlink_to("/etc/hostname")
    (folder / ".new-draft").write_bytes(b"half")
    (folder / "public").mkdir()
    (folder / "public" / "size.webp").write_bytes(b"made again")
    return folder


@pytest.fixture
def target(settings: Settings, tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    settings.DATA_ROOT = folder.as_uri()
    return folder


def move(source: Path, *options: str) -> str:
    output = io.StringIO()
    journal = source.with_name("journal")
    arguments = [str(source), "--journal", str(journal), *options]
    call_command("move", "media", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_all_files_arrive_with_their_content(source: Path, target: Path) -> None:
    said = move(source)

    assert "Copied: 3 of 3 files (5 B); 0 were there, 0 failed." in said
    assert files(target) == FILES | {MARKER: b"moving-in"}


def test_dry_run_copies_nothing(source: Path, target: Path) -> None:
    assert "To copy: 3 of 3 files (5 B)" in move(source, "--dry-run")
    assert not target.exists()


def test_repeated_move_copies_only_new_files_and_reads_no_other(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(source)
    (source / "later").write_bytes(b"new")
    opened: list[str] = []
    open_ = FolderPlace.opened

    def noted(self: FolderPlace, file: PlacedFile) -> object:
        opened.append(file.path)
        return open_(self, file)

    monkeypatch.setattr(FolderPlace, "opened", noted)

    assert "Copied: 1 of 4 files (3 B); 3 were there, 0 failed." in move(source)
    assert opened == ["later"]


def test_move_without_its_journal_compares_what_is_there(source: Path, target: Path) -> None:
    move(source)
    source.with_name("journal").unlink()

    assert "Copied: 0 of 3 files (0 B); 3 were there, 0 failed." in move(source)


def test_journal_with_a_line_cut_off_is_continued(source: Path, target: Path) -> None:
    move(source)
    journal = source.with_name("journal")
    journal.write_bytes(journal.read_bytes()[:-20])

    assert "Copied: 0 of 3 files (0 B); 3 were there, 0 failed." in move(source)
    assert "Copied: 0 of 3 files (0 B); 3 were there, 0 failed." in move(source)


def test_other_content_at_the_target_is_not_written_over(source: Path, target: Path) -> None:
    path = target / "runs/1/a b.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x,y")

    with pytest.raises(CommandError, match=r"a%20b.csv is there with other content") as error:
        move(source)

    assert "Files not moved: 1. Repeat the command." in str(error.value)
    assert files(target)["runs/1/a b.csv"] == b"x,y"
    assert files(target)["submissions/1/ä.json"] == b"{}"


def test_file_that_changes_after_the_listing_is_refused(source: Path) -> None:
    place = place_of(str(source))
    listed = next(file for file in place.files() if file.size_bytes)
    os.utime(source / listed.path, ns=(1, 1))

    with pytest.raises(Exception, match="has changed since it was listed"), place.opened(listed):
        pass


def test_marker_of_the_source_keeps_the_purge_away(source: Path, target: Path) -> None:
    (source / MARKER).write_bytes(b"another database")
    target.mkdir()
    (target / MARKER).write_text(str(Deployment.objects.get_or_create(id=1)[0].database_id))

    move(source)

    assert (target / MARKER).read_bytes() == b"another database"


def test_installation_that_has_runs_is_not_moved_into(source: Path, target: Path) -> None:
    RunFactory.create()
    target.mkdir()
    (target / MARKER).write_text(str(Deployment.objects.get_or_create(id=1)[0].database_id))

    with pytest.raises(CommandError, match="two installations cannot be merged"):
        move(source)


def test_files_are_moved_back_to_the_installation_they_came_from(
    source: Path, target: Path
) -> None:
    RunFactory.create()
    own = str(Deployment.objects.get_or_create(id=1)[0].database_id)
    target.mkdir()
    for folder in (source, target):
        (folder / MARKER).write_text(own)

    assert "Copied: 3 of 4 files" in move(source)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("/nowhere/at/all", "There are no files below file:///nowhere/at/all"),
        ("ftp://host/x", "Files cannot be moved from 'ftp://host/x'"),
        ("gs://", "'gs://' names no bucket"),
        ("file://host/x", "is not file:/// and an absolute path"),
    ],
)
def test_source_that_cannot_be_read_is_named(root: str, message: str, target: Path) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("move", "media", root, stderr=io.StringIO())


@pytest.mark.parametrize("kept", [0, 10])
def test_journal_of_a_move_killed_within_its_first_line_begins_anew(
    source: Path, target: Path, kept: int
) -> None:
    move(source)
    journal = source.with_name("journal")
    whole = journal.read_bytes()
    journal.write_bytes(whole[:kept])

    assert "were there, 0 failed" in move(source)
    assert journal.read_bytes().partition(b"\n")[0] == whole.partition(b"\n")[0]


def test_journal_of_another_move_is_refused(source: Path, target: Path, tmp_path: Path) -> None:
    move(source)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    arguments = [str(tmp_path / "other"), "--journal", str(source.with_name("journal"))]

    with pytest.raises(CommandError, match="is not the journal of a move from"):
        call_command("move", "media", *arguments, stderr=io.StringIO())


def test_bar_without_terminal_has_a_line_for_each_tenth() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream, 100)

    for done in range(101):
        bar.show(done, f"{done} files")

    assert len(stream.getvalue().splitlines()) == 11
    assert stream.getvalue().endswith("100%  100 files\n")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB")]
)
def test_size_is_written_in_the_unit_that_suits_it(size: int, text: str) -> None:
    assert size_text(size) == text
