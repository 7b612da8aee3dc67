"""Files of a container, and the message about its end."""

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
from validibot.runs.backends.docker.files import (
    MAX_FILES,
    FilesRefused,
    allow_writes,
    mounts,
    read_envelope,
    size_of,
)
from validibot.runs.backends.docker.watch import (
    _timed_out,
    exit_labels,
    failure_message,
    final_state,
    phase_of,
)

ROOT = Path(__file__).parents[5]


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
    """Return the mounts of a container: path and whether it is read-only."""
    uri = ask(bundle, *files)
    return {mount.target: mount.read_only for mount in mounts(read_envelope(uri), uri)}


def test_only_attempt_folder_is_writable_except_inputs(bundle: Path) -> None:
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


def test_file_outside_data_root_is_refused(bundle: Path) -> None:
    with pytest.raises(FilesRefused, match="is not below"):
        given(bundle, "file:///etc/passwd")


@pytest.mark.parametrize("target", ["/etc/passwd", "elsewhere", "."])
def test_links_folders_and_missing_files_are_refused(bundle: Path, target: str) -> None:
    (bundle / "model.fmu").symlink_to(target)

    with pytest.raises(FilesRefused, match="is not a regular file"):
        given(bundle, (bundle / "model.fmu").as_uri())


def test_link_in_path_of_file_is_refused(bundle: Path) -> None:
    (bundle / "folder").symlink_to("/etc")

    with pytest.raises(FilesRefused, match="is not a regular file"):
        given(bundle, f"{bundle.as_uri()}/folder/passwd")


def test_too_many_files_are_refused(bundle: Path) -> None:
    names = [f"file:///x/{number}" for number in range(MAX_FILES + 1)]

    with pytest.raises(FilesRefused, match=f"names {MAX_FILES + 1} files"):
        given(bundle, *names)


def test_invalid_envelope_error_names_field(bundle: Path) -> None:
    (bundle / "input.json").write_text('{"run_id": 1}')

    with pytest.raises(FilesRefused, match=r"input\.json is not an input envelope: run_id: "):
        read_envelope((bundle / "input.json").as_uri())


def test_root_changes_owner_of_folder(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *arguments: changed.append(arguments))

    allow_writes(bundle, "4711:4712")

    assert changed == [(bundle, 4711, 4712)]


def test_other_users_open_folder_below_private_parent(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    allow_writes(bundle, "4711:4711")

    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in (bundle, bundle / "outputs")}
    assert set(modes.values()) == {0o777}
    assert stat.S_IMODE(bundle.parent.stat().st_mode) == 0o700


def test_size_counts_allocated_blocks_only(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**9)
    (tmp_path / "link").symlink_to("/usr")

    assert 100_000 <= size_of(tmp_path) < 200_000
    assert size_of(tmp_path / "gone") == 0


def test_size_counts_empty_files(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).touch()

    assert size_of(tmp_path) == 10 * 4096


def test_size_of_too_deep_folder_is_unlimited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2100):
        Path("d").mkdir()
        os.chdir("d")
    monkeypatch.undo()

    assert size_of(tmp_path) > 2**60
    shutil.rmtree(tmp_path)


def test_size_of_unreadable_folder_is_unlimited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)

    assert size_of(tmp_path) > 2**60


LABELS = exit_labels(bundle=Path("/nowhere"), memory_mb=1024, output_mb=10)


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
            "It used more than the 1,024 MB of memory that it may use.",
        ),
        (
            ContainerExit(code=1, child_out_of_memory=True),
            "One of its processes used more than was left of the 1,024 MB of memory that it may use.",
        ),
        (
            ContainerExit(lost=True),
            "Its container ended with the Docker engine, or was removed. Launch the run again.",
        ),
    ],
)
def test_failure_message_names_cause(ended: ContainerExit, said: str) -> None:
    assert failure_message(ended, LABELS) == said


def test_failure_message_names_output_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    labels = exit_labels(bundle=tmp_path, memory_mb=1, output_mb=1)

    assert (
        failure_message(ContainerExit(signal=9), labels)
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
def test_phase_is_succeeded_for_exit_code_zero_only(ended: ContainerExit, phase: Phase) -> None:
    assert phase_of(ended) is phase


def test_state_of_container_ended_for_its_time_is_timed_out() -> None:
    _timed_out.add("attempt-1")
    try:
        assert final_state("attempt-1", ContainerExit(signal=15), {}).phase is Phase.TIMED_OUT
    finally:
        _timed_out.discard("attempt-1")
    assert final_state("attempt-1", ContainerExit(signal=15), {}).phase is Phase.FAILED
