"""Reading, editing and writing IDF and epJSON."""

import json

import pytest
from hypothesis import given, strategies as st

from validators.energyplus.model import ModelField, read_model
from validators.energyplus.text import ModelUnreadable, read_text

IDF = """! a comment; with, separators
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
)


@pytest.mark.parametrize(("content", "epjson"), [(IDF, False), (EPJSON, True)])
def test_idf_and_epjson_read_same_objects(content: str, epjson: bool) -> None:
    model = read_model(content, epjson=epjson)

    assert [item.kind for item in model.objects] == ["Version", "Timestep", "Zone"]
    assert model.of_kind("zone")[0].values == ("Office", "0")
    assert model.of_kind("VERSION")[0].value(0, "version_identifier") == "25.2"


STEP = ModelField(position=0, key="number_of_timesteps_per_hour")
YEAR = ModelField(position=3, key="begin_year")


@pytest.mark.parametrize(("content", "epjson"), [(IDF, False), (EPJSON, True)])
def test_update_changes_one_field(content: str, epjson: bool) -> None:
    model = read_model(content, epjson=epjson)

    model.update(model.of_kind("Timestep")[0], {STEP: 4})

    written = read_model(model.dump().decode(), epjson=epjson)
    assert [item.get(STEP) for item in written.of_kind("Timestep")] == ["4"]
    assert written.of_kind("Zone") == model.of_kind("Zone")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Timestep,6; ! six", "Timestep,4; ! six"),
        ("Timestep ,\n  6   !- a, b; c\n ;\nZone,A;", "Timestep ,\n  4   !- a, b; c\n ;\nZone,A;"),
        ("Timestep, ;", "Timestep,4 ;"),
        ("Timestep;", "Timestep,4;"),
        ("Timestep,6", "Timestep,4"),
        ("Timestep,6 ! tail", "Timestep,4 ! tail"),
    ],
)
def test_updated_idf_keeps_comments_and_lines(before: str, after: str) -> None:
    model = read_model(before, epjson=False)

    model.update(model.objects[0], {STEP: 4})

    assert model.dump().decode() == f"{after}\n"


def test_update_fills_missing_fields_of_idf() -> None:
    model = read_model("RunPeriod,A,1 ! month\n;", epjson=False)

    model.update(model.objects[0], {YEAR: 2023})

    assert model.dump() == b"RunPeriod,A,1,,2023 ! month\n;\n"


def test_removed_object_leaves_lines_and_comments() -> None:
    model = read_model("! the step\nTimestep,\n6; ! trailing\nZone,A;", epjson=False)

    model.remove(model.objects[0])

    assert model.dump() == b"! the step\n\n ! trailing\nZone,A;\n"


@pytest.mark.parametrize(("content", "epjson"), [(IDF, False), (EPJSON, True)])
def test_extended_list_has_entries_at_end(content: str, epjson: bool) -> None:
    model = read_model(content, epjson=epjson)
    reports = "Output:Table:SummaryReports"
    model.add(reports, {"reports": [{"report_name": "A"}]})
    model = read_model(model.dump().decode(), epjson=epjson)

    model.extend(model.of_kind(reports)[0], "reports", [{"report_name": "B"}])

    (written,) = read_model(model.dump().decode(), epjson=epjson).of_kind(reports)
    assert " ".join(written.values).split()[-2:] == ["A", "B"]


def test_objects_of_idf_have_their_line() -> None:
    model = read_model(IDF, epjson=False)

    assert [item.line for item in model.objects] == [2, 3, 4]


def test_added_object_does_not_join_unterminated_one() -> None:
    model = read_model("Zone,A;\nZone,B\n", epjson=False)

    model.add("Timestep", {"number_of_timesteps_per_hour": 4})

    written = read_model(model.dump().decode(), epjson=False)
    assert [item.values for item in written.objects] == [("A",), ("4",), ("B",)]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "ENERGYPLUS_INVALID_JSON"),
        ("{", "ENERGYPLUS_INVALID_JSON"),
        ("[" * 10_000, "ENERGYPLUS_INVALID_JSON"),
        ('{"a": ' + "9" * 5000 + "}", "ENERGYPLUS_INVALID_JSON"),
        ("[]", "ENERGYPLUS_INVALID_EPJSON"),
        ('{"Zone": []}', "ENERGYPLUS_INVALID_EPJSON"),
        ('{"Zone": {"Office": 1}}', "ENERGYPLUS_INVALID_EPJSON"),
    ],
)
def test_invalid_epjson_is_refused_with_code(content: str, code: str) -> None:
    with pytest.raises(ModelUnreadable) as caught:
        read_model(content, epjson=True)

    assert caught.value.code == code


@pytest.mark.parametrize("depth", [60, 2_000, 50_000])
def test_deeply_nested_field_is_refused(depth: int) -> None:
    deep = '{"Zone": {"Office": {"a": ' + "[" * depth + "]" * depth + "}}}"

    with pytest.raises(ModelUnreadable, match=r"nested too deeply|levels of lists"):
        read_model(deep, epjson=True)


@pytest.mark.parametrize("tail", ["! " + "x" * 5_000_000, "{" * 5_000_000, " " * 5_000_000])
def test_long_tail_is_read_in_linear_time(tail: str) -> None:
    """In quadratic time, each of these would take longer than the test's limit."""
    assert read_model("Zone,A;" + tail, epjson=False).objects[0].values == ("A",)


def reference(text: str) -> list[tuple[str, ...]]:
    """Read an IDF letter by letter."""
    objects, fields, field, comment = [], [], "", False
    for letter in text:
        if letter == "\n":
            comment = False
        if comment:
            continue
        if letter == "!":
            comment = True
        elif letter in ",;":
            fields.append(field.strip())
            field = ""
            if letter == ";":
                objects.append(tuple(fields))
                fields = []
        else:
            field += letter
    if fields or field.strip():
        objects.append((*fields, field.strip()))
    return [tuple(" ".join(part.split()) for part in item) for item in objects if item[0]]


def objects_of(text: str) -> list[tuple[str, ...]]:
    """Return class and values of each object; how a value goes on in another line is the same."""
    return [
        tuple(" ".join(part.split()) for part in (item.kind, *item.values))
        for item in read_model(text, epjson=False).objects
    ]


TOKENS = st.sampled_from(
    [
        ",",
        ";",
        "!",
        "\n",
        "\r\n",
        " ",
        "\t",
        "Zone",
        "é",
        "建",
        "25.2",
        "!- a, b; c\n",
        "! x\r\n",
        "##",
    ]
)


@given(st.lists(TOKENS, max_size=40).map("".join))
def test_idf_objects_equal_reference_parser(text: str) -> None:
    assert objects_of(text) == reference(text)


@given(st.lists(TOKENS, max_size=40).map("".join), st.data())
def test_edits_of_idf_change_nothing_else(text: str, data: st.DataObject) -> None:
    model = read_model(text, epjson=False)
    kept = [(item.kind, *item.values) for item in model.objects]
    if model.objects:
        place = data.draw(st.integers(0, len(model.objects) - 1))
        model.remove(model.objects[place])
        del kept[place]

    written = read_model(model.dump().decode(), epjson=False)

    assert [(item.kind, *item.values) for item in written.objects] == kept
    assert written.dump().count(b"\n") == text.count("\n") + 2


@given(
    st.lists(TOKENS, max_size=40).map("".join),
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_encoding_and_line_ends_leave_objects_equal(text: str, codec: str, end: str) -> None:
    text = text.replace("建", "ü").replace("\r\n", "\n")

    read, _ = read_text(text.replace("\n", end).encode(codec))

    assert objects_of(read) == objects_of(text)
