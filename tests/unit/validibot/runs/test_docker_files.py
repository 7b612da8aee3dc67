"""Which files a container is given, and how it is said how it ended."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from containers import ContainerExit
from validibot.runs.backends.base import Phase
from validibot.runs.backends.docker import ending
from validibot.runs.backends.docker.files import (
    MAX_FILES,
    FilesRefused,
    let_in,
    mounts,
    read_envelope,
    size_of,
)

ROOT = Path(__file__).parents[4]


@pytest.fixture
def bundle(settings: Settings, tmp_path: Path) -> Path:
    settings.DATA_ROOT = (tmp_path / "media").as_uri()
    folder = tmp_path / "media" / "runs" / "1" / str(uuid4())
    folder.mkdir(parents=True)
    return folder


def ask(bundle: Path, *files: str) -> str:
    """Write an envelope that names `files`; return its URI."""
    envelope = json.loads((ROOT / "tests/contract/envelopes/fmu.json").read_text())
    (item,) = envelope["input_files"]
    envelope["input_files"] = [item | {"uri": uri} for uri in files]
    (bundle / "input.json").write_text(json.dumps(envelope))
    return (bundle / "input.json").as_uri()


def given(bundle: Path, *files: str) -> dict[str, bool]:
    """Return what a container sees, and whether only for reading."""
    uri = ask(bundle, *files)
    return {mount.target: mount.read_only for mount in mounts(read_envelope(uri), uri)}


def test_only_its_own_folder_can_be_written_to_and_of_that_not_the_inputs(bundle: Path) -> None:
    (bundle / "model.fmu").write_bytes(b"PK")
    shared = bundle.parents[2] / "library" / "weather.epw"
    shared.parent.mkdir()
    shared.write_bytes(b"sun")

    seen = given(bundle, (bundle / "model.fmu").as_uri(), shared.as_uri())

    assert seen == {
        str(bundle): False,
        str(bundle / "input.json"): True,
        str(bundle / "model.fmu"): True,
        str(shared): True,
    }


def test_nothing_outside_the_data_root_is_given(bundle: Path) -> None:
    with pytest.raises(FilesRefused, match="does not lie below"):
        given(bundle, "file:///etc/passwd")


@pytest.mark.parametrize("target", ["/etc/passwd", "elsewhere", "."])
def test_neither_links_nor_folders_nor_nothing_are_given(bundle: Path, target: str) -> None:
    (bundle / "model.fmu").symlink_to(target)

    with pytest.raises(FilesRefused, match="no plain file"):
        given(bundle, (bundle / "model.fmu").as_uri())


def test_a_link_on_the_way_to_a_file_is_not_followed(bundle: Path) -> None:
    (bundle / "folder").symlink_to("/etc")

    with pytest.raises(FilesRefused, match="no plain file"):
        given(bundle, f"{bundle.as_uri()}/folder/passwd")


def test_there_is_a_most_of_files(bundle: Path) -> None:
    names = [f"file:///x/{number}" for number in range(MAX_FILES + 1)]

    with pytest.raises(FilesRefused, match=f"names {MAX_FILES + 1} files"):
        given(bundle, *names)


def test_what_is_no_envelope_is_named(bundle: Path) -> None:
    (bundle / "input.json").write_text('{"run_id": 1}')

    with pytest.raises(FilesRefused, match=r"input\.json is no input envelope: run_id: "):
        read_envelope((bundle / "input.json").as_uri())


def test_root_hands_the_folder_over(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *arguments: handed.append(arguments))

    let_in(bundle, "4711:4712")

    assert handed == [(bundle, 4711, 4712)]


def test_who_is_not_root_opens_the_folder_behind_a_door_of_its_own(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    let_in(bundle, "4711:4711")

    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in (bundle, bundle / "outputs")}
    assert set(modes.values()) == {0o777}
    assert stat.S_IMODE(bundle.parent.stat().st_mode) == 0o700


def test_what_files_take_is_counted_and_what_they_announce_is_not(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**9)
    (tmp_path / "link").symlink_to("/usr")

    assert 100_000 <= size_of(tmp_path) < 200_000
    assert size_of(tmp_path / "gone") == 0


def test_a_million_empty_files_take_room_too(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).touch()

    assert size_of(tmp_path) == 10 * 4096


def test_what_is_too_deep_to_be_looked_at_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2100):
        Path("d").mkdir()
        os.chdir("d")
    monkeypatch.undo()

    assert size_of(tmp_path) > 2**60
    shutil.rmtree(tmp_path)


def test_what_is_hidden_by_its_rights_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)

    assert size_of(tmp_path) > 2**60


CARRIED = ending.labels(bundle=Path("/nowhere"), memory_mb=1024, output_mb=10)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (ContainerExit(), "It ended with exit code 0."),
        (ContainerExit(code=3), "It ended with exit code 3."),
        (
            ContainerExit(code=127),
            "Its program cannot be run (exit code 127): the image is broken.",
        ),
        (ContainerExit(signal=11), "It was ended by SIGSEGV."),
        (
            ContainerExit(signal=9, out_of_memory=True),
            "It needed more than the 1,024 MB of memory that it may use.",
        ),
        (
            ContainerExit(code=1, child_out_of_memory=True),
            "One of its processes needed more than was left of the 1,024 MB of memory that it may use.",
        ),
        (
            ContainerExit(lost=True),
            "Its container went with the Docker engine, or was removed. Launch the run again.",
        ),
    ],
)
def test_the_end_of_a_container_is_told_in_a_sentence(ended: ContainerExit, said: str) -> None:
    assert ending.failure_message(ended, CARRIED) == said


def test_who_wrote_too_much_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    carried = ending.labels(bundle=tmp_path, memory_mb=1, output_mb=1)

    assert (
        ending.failure_message(ContainerExit(signal=9), carried)
        == "It wrote more than the 1 MB that it may write."
    )


@pytest.mark.parametrize(
    ("ended", "phase"),
    [
        (ContainerExit(), Phase.SUCCEEDED),
        (ContainerExit(child_out_of_memory=True), Phase.SUCCEEDED),
        (ContainerExit(code=1), Phase.FAILED),
        (ContainerExit(signal=9), Phase.FAILED),
        (ContainerExit(lost=True), Phase.FAILED),
    ],
)
def test_only_exit_code_zero_is_success(ended: ContainerExit, phase: Phase) -> None:
    assert ending.phase_of(ended) is phase
