"""Limits of FMU archives."""

import zipfile
from pathlib import Path

import pytest

from validators.fmu import description
from validators.fmu.description import FmuRefused, unpack


def zipped(folder: Path, entries: dict[str, bytes]) -> Path:
    path = folder / "model.fmu"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def refusal(folder: Path, path: Path) -> str:
    with pytest.raises(FmuRefused) as caught:
        unpack(path, folder / "unpacked")
    assert not (folder / "unpacked").exists() or not any((folder / "unpacked").iterdir())
    return caught.value.code


def test_unpack_returns_file_names(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"modelDescription.xml": b"<x/>", "resources/a.txt": b"a"})

    assert unpack(path, tmp_path / "out") == ["modelDescription.xml", "resources/a.txt"]
    assert (tmp_path / "out/resources/a.txt").read_bytes() == b"a"


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no archive at all", b"PK\x05\x06" + b"\xff" * 18]
)
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.fmu").write_bytes(content)

    assert refusal(tmp_path, tmp_path / "model.fmu") == "FMU_NOT_A_ZIP"


def test_damaged_member_is_refused_without_paths_of_machine(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"modelDescription.xml": b"some text " * 9})
    content = bytearray(path.read_bytes())
    content[50:58] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(FmuRefused, match="while decompressing data") as damaged:
        unpack(path, tmp_path / "damaged")
    with pytest.raises(FmuRefused) as twisted:
        unpack(zipped(tmp_path, {"a": b"1", "a/b": b"2"}), tmp_path / "twisted")

    assert damaged.value.code == twisted.value.code == "FMU_NOT_A_ZIP"
    assert str(tmp_path) not in str(twisted.value)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil"])
def test_path_outside_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, zipped(tmp_path, {name: b"x"})) == "FMU_PATH_REFUSED"


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "model.fmu", "w") as file:
        file.writestr(entry, "/etc/passwd")

    assert refusal(tmp_path, tmp_path / "model.fmu") == "FMU_PATH_REFUSED"


def test_colons_and_well_packed_resources_are_accepted(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"resources/a:b.txt": b"\0" * (4 << 20)})

    assert unpack(path, tmp_path / "out") == ["resources/a:b.txt"]


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "ENTRY_LIMIT", 2)

    assert refusal(tmp_path, zipped(tmp_path, dict.fromkeys("abc", b""))) == "FMU_TOO_LARGE"


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "SIZE_LIMIT", 10)

    assert refusal(tmp_path, zipped(tmp_path, {"a": b"x" * 11})) == "FMU_TOO_LARGE"
