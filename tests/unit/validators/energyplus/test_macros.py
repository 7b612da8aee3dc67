"""Macros of an IDF, and the files that they include."""

from pathlib import Path

import pytest

from validators.energyplus.files import (
    FurtherFiles,
    add_submitted_lines,
    has_macros,
    with_includes,
)
from validators.energyplus.model import read_model
from validators.energyplus.text import ModelUnreadable


def files(folder: Path, **contents: str) -> FurtherFiles:
    for name, content in contents.items():
        (folder / f"{name}.inc").write_text(content)
    return FurtherFiles({f"{name}.inc": folder / f"{name}.inc" for name in contents})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zone,A;\n##include a.inc", True),
        ("  ##set1 x 1", True),
        ("##IF #[1 EQ 1]", True),
        ("! ##include a.inc\nZone,A; ##include b.inc", False),
        ("Zone,## A;\n##\n", False),
    ],
)
def test_commands_at_begin_of_line_are_macros(text: str, expected: bool) -> None:
    assert has_macros(text) is expected


def test_included_files_take_place_of_command(tmp_path: Path) -> None:
    text = "a\n ##include one.inc ! comment\n##FilePrefix parts\n##includesilent Two.INC\nb"

    found = with_includes(text, files(tmp_path, one="1\n##include two.inc", two="2"))

    assert found.split() == ["a", "1", "2", "2", "b"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("##include /etc/passwd", "ENERGYPLUS_PATH_REFUSED"),
        ("##fileprefix C:\\models", "ENERGYPLUS_PATH_REFUSED"),
        ("##include ../a.inc", "ENERGYPLUS_PATH_REFUSED"),
        ("##include none.inc", "ENERGYPLUS_FILE_MISSING"),
    ],
)
def test_include_of_other_files_is_refused_with_line(tmp_path: Path, line: str, code: str) -> None:
    with pytest.raises(ModelUnreadable) as caught:
        with_includes(f"Zone,A;\n{line}", files(tmp_path, a=""))

    assert (caught.value.code, caught.value.line) == (code, 2)


@pytest.mark.parametrize("content", ["##include a.inc\n", "##include a.inc\n" * 50])
def test_endless_include_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ModelUnreadable) as caught:
        with_includes("##include a.inc", files(tmp_path, a=content))

    assert caught.value.code == "ENERGYPLUS_INCLUDE_LIMIT"


def test_objects_of_expanded_model_have_lines_of_submitted_file() -> None:
    submitted = (
        "##set1 x 3\n\nZone,A;\n##if #[1 EQ 1]\nZone,B,\n1;\n##else\nZone,B;\n##endif\nZone,C,x[];"
    )
    model = read_model("Zone,A;Zone,B,1;Zone,C,3;Zone,Included;", epjson=False, lines=False)

    add_submitted_lines(model, submitted)

    lines = {item.values[0]: item.line for item in model.objects}
    assert lines == {"A": 3, "B": None, "C": 10, "Included": None}
