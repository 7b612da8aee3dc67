"""Probing of FMUs, as a function and as an engine."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from validators.fmu.description import FmuRefused, read_description, unpack
from validibot.engines import Document, get_engine
from validibot.engines.fmu_probe import MAX_DESCRIPTION_BYTES, MAX_ENTRIES, probe

DECAY = Path(__file__).parents[4] / "validators/fmu/samples/decay.fmu"

FMI3 = """<fmiModelDescription fmiVersion="3.0">
  <CoSimulation modelIdentifier="m"/>
  <ModelVariables>
    <!-- a comment -->
    <Float64 name="x" valueReference="1" causality="output" variability="continuous" unit="m"/>
    <Int32 name="n" valueReference="2"/>
  </ModelVariables>
</fmiModelDescription>"""


def archive(
    description: str | bytes,
    name: str = "modelDescription.xml",
    more: str = "more",
    method: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        file.writestr(name, description)
        file.writestr(more, b"")
    return content.getvalue()


def test_probe_reads_variables_of_fmi_2() -> None:
    result = probe(DECAY.read_bytes())

    assert result.status == "success"
    level, rate, _ = result.variables
    assert (level.name, level.causality, level.value_type) == ("level", "output", "Real")
    assert (rate.name, rate.causality, rate.value_reference) == ("rate", "parameter", 1)


def test_probe_reads_variables_of_fmi_3() -> None:
    x, n = probe(archive(FMI3)).variables

    assert (x.value_type, x.unit, x.causality) == ("Float64", "m", "output")
    assert (n.value_type, n.unit, n.causality) == ("Int32", None, "local")


FMI2 = """<fmiModelDescription fmiVersion="2.0"><ModelExchange modelIdentifier="m"/>
<ModelVariables>{}</ModelVariables></fmiModelDescription>"""

CLOCK = '<Clock name="tick" valueReference="3" causality="{}" intervalVariability="triggered"/>'
REFUSED = {
    "empty": (b"", "not a readable zip"),
    "no zip": (b"PK\x03\x04 and nothing", "not a readable zip"),
    "cut short": (archive(FMI3)[:80], "not a readable zip"),
    "damaged": (archive(FMI3).replace(b"PK\x03\x04", b"PK\x00\x00", 1), "not a readable zip"),
    "damaged member": (
        archive(FMI3)[:60] + b"\xff" * 8 + archive(FMI3)[68:],
        "not a readable zip",
    ),
    "no description": (archive(FMI3, name="other.xml"), "has no modelDescription.xml"),
    "no XML": (archive("hello"), "not XML"),
    "other XML": (archive("<a/>"), "not of FMI 2 or 3"),
    "FMI 1": (archive('<fmiModelDescription fmiVersion="1.0"/>'), "not of FMI 2 or 3"),
    "zip bomb": (archive(b" " * (MAX_DESCRIPTION_BYTES + 1)), "more than"),
    "bzip2": (archive(FMI3, method=zipfile.ZIP_BZIP2), "packed otherwise than by deflate"),
    "lzma": (archive(FMI3, method=zipfile.ZIP_LZMA), "packed otherwise than by deflate"),
    "entities": (archive('<!DOCTYPE a [<!ENTITY b "c">]><a/>'), "entities"),
    "nameless": (archive(FMI2.format('<ScalarVariable valueReference="1"/>')), "no name"),
    "bad reference": (
        archive(FMI2.format('<ScalarVariable name="x" valueReference="x"/>')),
        "no valueReference",
    ),
    "typeless": (archive(FMI2.format('<ScalarVariable name="x" valueReference="1"/>')), "no type"),
    "unknown type": (archive(FMI3.replace("Int32", "Int33")), "the unknown type"),
    "scheduled": (archive(FMI3.replace("CoSimulation", "ScheduledExecution")), "only scheduled"),
    "input clock": (
        archive(FMI3.replace("<Int32", CLOCK.format("input") + "<Int32")),
        "the input clock 'tick'",
    ),
    "no interface": (archive(FMI3.replace("CoSimulation", "Other")), "neither"),
    "document type": (archive(f"<!DOCTYPE fmiModelDescription>{FMI3}"), "document type"),
    "path": (archive(FMI3, more="../evil"), "outside its folder"),
    "drive": (archive(FMI3, more="C:/evil"), "outside its folder"),
}
ACCEPTED = {
    "FMI 2": archive(FMI2.format("")),
    "FMI 3": archive(FMI3),
    "output clock": archive(FMI3.replace("<Int32", CLOCK.format("output") + "<Int32")),
    "colon": archive(FMI3, more="resources/a:b"),
    "sample": DECAY.read_bytes(),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_probe_of_invalid_fmu_returns_failure(content: bytes, message: str) -> None:
    result = probe(content)

    assert result.status == "error"
    assert message in result.errors[0]


@pytest.mark.parametrize(
    ("content", "accepted"),
    [
        *((content, False) for content, _ in REFUSED.values()),
        *((content, True) for content in ACCEPTED.values()),
    ],
    ids=[*REFUSED, *ACCEPTED],
)
def test_probe_and_validator_accept_the_same_fmus(
    content: bytes, accepted: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.fmu").write_bytes(content)

    try:
        unpack(tmp_path / "a.fmu", tmp_path / "unpacked")
        read_description(tmp_path / "unpacked")
        simulated = True
    except FmuRefused:
        simulated = False

    assert (probe(content).status == "success", simulated) == (accepted, accepted)


def test_archive_with_too_many_files_is_refused() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for number in range(MAX_ENTRIES + 1):
            file.writestr(str(number), b"")

    assert "more than" in probe(content.getvalue()).errors[0]


def test_engine_outputs_settable_and_readable_variables() -> None:
    result = get_engine("fmu_probe").check(Document(DECAY.read_bytes(), "decay.fmu", ""), {})

    assert result.problems == ()
    outputs: Any = result.outputs
    assert outputs["variable_count"] == 3
    assert [variable["name"] for variable in outputs["variables"]] == ["level", "rate", "start"]


def test_engine_reports_invalid_fmu() -> None:
    (problem,) = get_engine("fmu_probe").check(Document(b"no", "a.fmu", ""), {}).problems

    assert problem.code == "fmu.invalid"
