"""Files that the objects of a model name."""

import json
from pathlib import Path

import pytest
from validibot_shared.validations.envelopes import ValidationMessage

from validators.energyplus.files import FurtherFiles, place_files, place_weather
from validators.energyplus.model import read_model


def placed(folder: Path, idf: str, *sent: str) -> tuple[FurtherFiles, list[ValidationMessage]]:
    (folder / "sent").mkdir()
    (folder / "model").mkdir()
    for name in sent:
        (folder / "sent" / name).write_text(name)
    files = FurtherFiles({name: folder / "sent" / name for name in sent})
    return files, place_files(read_model(idf, epjson=False), files, folder=folder / "model")


@pytest.mark.parametrize(
    ("idf", "place"),
    [
        ("Schedule:File,S,Any,people.csv,1,0;", "people.csv"),
        ("schedule:file,S,Any,PEOPLE.CSV,1,0;", "PEOPLE.CSV"),
        ("Schedule:File,S,Any,data/people.csv,1,0;", "data/people.csv"),
        (r"Schedule:File,S,Any,.\data\people.csv,1,0;", "data/people.csv"),
        ("Schedule:File:Shading,people.csv;", "people.csv"),
        ("Construction:WindowDataFile,W,people.csv;", "people.csv"),
        ("Chiller:Electric:ASHRAE205,C,people.csv;", "people.csv"),
        ("Table:IndependentVariable,V,Linear,Linear,,people.csv;", "people.csv"),
        ("Table:Lookup,T,V,,,people.csv;", "people.csv"),
    ],
)
def test_named_file_is_put_beside_model(tmp_path: Path, idf: str, place: str) -> None:
    _, problems = placed(tmp_path, idf, "people.csv")

    assert problems == []
    assert (tmp_path / "model" / place).read_text() == "people.csv"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        r"..\up.csv",
        "../up.csv",
        "a/../../up.csv",
        "C:\\x.csv",
        "~/x",
        "http://x/y.csv",
    ],
)
def test_path_outside_folder_is_refused(tmp_path: Path, path: str) -> None:
    _, (problem,) = placed(tmp_path, f"Zone,A;\nSchedule:File,S,Any,{path},1,0;", "up.csv")

    assert problem.code == "ENERGYPLUS_PATH_REFUSED"
    assert repr(path) in problem.text
    assert problem.location
    assert problem.location.line == 2


def test_missing_file_is_named_with_object_and_field(tmp_path: Path) -> None:
    _, (problem,) = placed(tmp_path, "Schedule:File,Use,Any,use.csv,1,0;", "other.csv")

    assert problem.code == "ENERGYPLUS_FILE_MISSING"
    for words in ("Schedule:File 'Use'", "file_name", "'use.csv'", "other.csv"):
        assert words in problem.text


def test_unused_file_is_told(tmp_path: Path) -> None:
    files, _ = placed(tmp_path, "Schedule:File,S,Any,a.csv,1,0;", "A.csv", "b.csv")

    (note,) = files.unused()
    assert (note.code, "'b.csv'" in note.text) == ("ENERGYPLUS_FILE_UNUSED", True)


def test_optional_file_that_is_not_named_is_no_problem(tmp_path: Path) -> None:
    assert placed(tmp_path, "Table:Lookup,T,V,,,;Table:IndependentVariable,V;")[1] == []


def test_files_of_epjson_are_checked(tmp_path: Path) -> None:
    model = {"Schedule:File": {"S": {"file_name": "/etc/passwd", "column_number": 1}}}

    found = place_files(
        read_model(json.dumps(model), epjson=True), FurtherFiles({}), folder=tmp_path
    )

    assert [message.code for message in found] == ["ENERGYPLUS_PATH_REFUSED"]


def test_statistics_get_name_of_weather(tmp_path: Path) -> None:
    weather, statistics = tmp_path / "Golden.epw", tmp_path / "other.stat"
    weather.write_text("LOCATION")
    statistics.write_text("Statistics")

    placed_weather = place_weather(weather, statistics, folder=tmp_path / "weather")

    assert placed_weather.read_text() == "LOCATION"
    assert placed_weather.with_suffix(".stat").read_text() == "Statistics"
    assert place_weather(weather, None, folder=tmp_path / "none") == weather
