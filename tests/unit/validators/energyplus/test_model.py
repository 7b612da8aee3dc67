"""Reading, editing and writing IDF and epJSON."""

import json

import pytest

from validators.energyplus.model import ModelUnreadable, read_model

IDF = b"""! a comment; with, separators
Version,25.2;
Timestep , 6 ;
Zone,
  Office,   !- Name
  0;
"""
EPJSON = json.dumps(
    {
        "Version": {"Version 1": {"version_identifier": "25.2"}},
        "Timestep": {"Timestep 1": {"number_of_timesteps_per_hour": 6}},
        "Zone": {"Office": {"direction_of_relative_north": 0}},
    }
).encode()


@pytest.mark.parametrize(("content", "epjson"), [(IDF, False), (EPJSON, True)])
def test_idf_and_epjson_read_same_objects(content: bytes, epjson: bool) -> None:
    model = read_model(content, epjson=epjson)

    assert [item.kind for item in model.objects] == ["Version", "Timestep", "Zone"]
    assert model.of_kind("zone")[0].values == ("Office", "0")
    assert model.of_kind("VERSION")[0].value(0, "version_identifier") == "25.2"


@pytest.mark.parametrize(("content", "epjson"), [(IDF, False), (EPJSON, True)])
def test_replace_leaves_one_object(content: bytes, epjson: bool) -> None:
    model = read_model(content, epjson=epjson)

    model.replace("Timestep", {"number_of_timesteps_per_hour": 4})

    written = read_model(model.dump(), epjson=epjson)
    steps = written.of_kind("Timestep")
    assert [item.value(0, "number_of_timesteps_per_hour") for item in steps] == ["4"]
    assert written.of_kind("Zone") == model.of_kind("Zone")


def test_edited_idf_keeps_line_numbers() -> None:
    model = read_model(IDF, epjson=False)

    model.replace("Version", {"version_identifier": "25.2"})

    assert model.dump().decode().splitlines()[3] == "Zone,"


def test_idf_objects_have_line_of_class_name() -> None:
    model = read_model(IDF, epjson=False)

    assert [item.line for item in model.objects] == [2, 3, 4]


def test_latin_1_idf_is_read() -> None:
    model = read_model("! Café\nZone,Café;".encode("latin-1"), epjson=False)

    assert model.objects[0].values == ("Café",)


@pytest.mark.parametrize("content", [bytes(range(256)) * 40, b"Version,25.2;\x00", b"PK\x03\x04"])
def test_binary_content_is_refused(content: bytes) -> None:
    with pytest.raises(ModelUnreadable) as caught:
        read_model(content, epjson=False)

    assert caught.value.code == "ENERGYPLUS_NOT_TEXT"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "ENERGYPLUS_INVALID_JSON"),
        (b"{", "ENERGYPLUS_INVALID_JSON"),
        (b"[" * 10_000, "ENERGYPLUS_INVALID_JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "ENERGYPLUS_INVALID_JSON"),
        (b"[]", "ENERGYPLUS_INVALID_EPJSON"),
        (b'{"Zone": []}', "ENERGYPLUS_INVALID_EPJSON"),
        (b'{"Zone": {"Office": 1}}', "ENERGYPLUS_INVALID_EPJSON"),
    ],
)
def test_invalid_epjson_is_refused_with_code(content: bytes, code: str) -> None:
    with pytest.raises(ModelUnreadable) as caught:
        read_model(content, epjson=True)

    assert caught.value.code == code


@pytest.mark.parametrize("depth", [60, 2_000, 50_000])
def test_deeply_nested_field_is_refused(depth: int) -> None:
    deep = b'{"Zone": {"Office": {"a": ' + b"[" * depth + b"]" * depth + b"}}}"

    with pytest.raises(ModelUnreadable, match=r"nested too deeply|levels of lists"):
        read_model(deep, epjson=True)


def test_comment_before_replaced_object_is_kept() -> None:
    model = read_model(b"! the step\nTimestep,6; ! trailing\nZone,A;", epjson=False)

    model.replace("Timestep")

    assert model.dump() == b"! the step\n            ! trailing\nZone,A;\n"


def test_text_after_last_semicolon_is_no_object() -> None:
    model = read_model(b"Zone,A;\nZone,B\n! end", epjson=False)

    assert [item.values for item in model.objects] == [("A",)]


def test_model_beyond_size_limit_is_refused() -> None:
    with pytest.raises(ModelUnreadable, match="allowed"):
        read_model(b" " * ((64 << 20) + 1), epjson=False)


@pytest.mark.parametrize("tail", [b"! " + b"x" * 5_000_000, b"{" * 5_000_000, b" " * 5_000_000])
def test_long_tail_is_read_in_linear_time(tail: bytes) -> None:
    """In quadratic time, each of these would take longer than the test's limit."""
    model = read_model(b"Zone,A;" + tail, epjson=False)

    assert len(model.objects) == 1
