"""What is read from modelDescription.xml, and which binaries fit it."""

import platform
import sys
from pathlib import Path

import pytest

from validators.fmu.archive import FmuRefused
from validators.fmu.binaries import require_binary
from validators.fmu.description import Description, Variable, read_description

FMI2 = """<fmiModelDescription fmiVersion="2.0" modelName="M" guid="{g}">
<CoSimulation modelIdentifier="decay"/><ModelVariables>
<ScalarVariable name="x" causality="output"><Real/></ScalarVariable>
<ScalarVariable name="n" causality="parameter"><Annotations/><Integer/></ScalarVariable>
</ModelVariables></fmiModelDescription>"""
FMI3 = """<fmiModelDescription fmiVersion="3.0" modelName="M" instantiationToken="{g}">
<ModelExchange modelIdentifier="decay"/><ModelVariables>
<Float64 name="x" causality="output"/><Int32 name="n" causality="parameter"/>
</ModelVariables></fmiModelDescription>"""
LAUGHS = """<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<fmiModelDescription fmiVersion="2.0">&b;</fmiModelDescription>"""


def described(folder: Path, xml: str) -> Description:
    (folder / "modelDescription.xml").write_text(xml)
    return read_description(folder)


@pytest.mark.parametrize(
    ("xml", "types"), [(FMI2, ["Real", "Integer"]), (FMI3, ["Float64", "Int32"])]
)
def test_both_versions_of_the_standard_are_read(tmp_path: Path, xml: str, types: list[str]) -> None:
    found = described(tmp_path, xml)

    assert (found.guid, found.identifiers, found.outputs) == ("{g}", ["decay"], ["x"])
    assert [variable.type for variable in found.variables.values()] == types


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<a",
        "<html/>",
        '<fmiModelDescription fmiVersion="2.0"/>',
        '<fmiModelDescription fmiVersion="9.0"/>',
        LAUGHS,
        "<a>" * 10_000,
    ],
)
def test_a_description_that_cannot_be_used_is_refused(tmp_path: Path, xml: str) -> None:
    with pytest.raises(FmuRefused) as caught:
        described(tmp_path, xml)

    assert caught.value.code == "FMU_INVALID_MODEL_DESCRIPTION"


def test_an_archive_without_a_description_is_no_fmu(tmp_path: Path) -> None:
    with pytest.raises(FmuRefused, match="not an FMU"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("kind", "value", "accepted"),
    [
        ("Real", 1, True),
        ("Float64", [1.5, 2], True),
        ("Real", True, False),
        ("Real", "1", False),
        ("Integer", 1, True),
        ("Int32", 1.5, False),
        ("Boolean", True, True),
        ("Boolean", 1, False),
        ("String", "a", True),
    ],
)
def test_a_value_must_fit_the_variables_type(kind: str, value: object, accepted: bool) -> None:
    assert Variable(name="v", causality="input", type=kind).accepts(value) is accepted


@pytest.fixture
def _linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.usefixtures("_linux")
@pytest.mark.parametrize(
    ("xml", "binary"),
    [(FMI2, "binaries/linux64/decay.so"), (FMI3, "binaries/x86_64-linux/decay.so")],
)
def test_a_binary_for_this_machine_is_found(tmp_path: Path, xml: str, binary: str) -> None:
    require_binary(["modelDescription.xml", binary], described(tmp_path, xml))


@pytest.mark.usefixtures("_linux")
def test_a_platform_mismatch_names_the_platforms_present(tmp_path: Path) -> None:
    names = ["binaries/win64/decay.dll", "binaries/darwin64/decay.dylib"]

    with pytest.raises(FmuRefused, match=r"linux64, .* it has: darwin64, win64") as caught:
        require_binary(names, described(tmp_path, FMI2))

    assert caught.value.code == "FMU_PLATFORM_MISMATCH"


def test_an_fmu_of_sources_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FmuRefused, match="no native code at all"):
        require_binary(["sources/decay.c"], described(tmp_path, FMI2))
