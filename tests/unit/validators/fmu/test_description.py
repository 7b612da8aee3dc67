"""Model descriptions, and native code for this machine."""

import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from validators.fmu.binary import require_binary, require_executable
from validators.fmu.description import Description, FmuRefused, read_description
from validators.sdk.validation import Failure

FMI2 = """<fmiModelDescription fmiVersion="2.0" modelName="M" guid="{g}">
<CoSimulation modelIdentifier="decay"/><ModelVariables>
<ScalarVariable name="x" valueReference="0" causality="output"><Real/></ScalarVariable>
<ScalarVariable name="n" valueReference="0" causality="parameter"><Annotations/><Integer/></ScalarVariable>
</ModelVariables></fmiModelDescription>"""
FMI3 = """<fmiModelDescription fmiVersion="3.0" modelName="M" instantiationToken="{g}">
<ModelExchange modelIdentifier="decay"/><ModelVariables>
<Float64 name="x" valueReference="0" causality="output"/><Int32 name="n" valueReference="1" causality="parameter"/>
</ModelVariables></fmiModelDescription>"""
LAUGHS = """<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<fmiModelDescription fmiVersion="2.0">&b;</fmiModelDescription>"""


def described(folder: Path, xml: str) -> Description:
    (folder / "modelDescription.xml").write_text(xml)
    return read_description(folder)


@pytest.mark.parametrize(
    ("xml", "types"), [(FMI2, ["Real", "Integer"]), (FMI3, ["Float64", "Int32"])]
)
def test_fmi_2_and_3_descriptions_are_read(tmp_path: Path, xml: str, types: list[str]) -> None:
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
        FMI2.replace(' valueReference="0"', "", 1),
        FMI2.replace("<Real/>", "<Complex/>"),
        LAUGHS,
        "<a>" * 10_000,
    ],
)
def test_invalid_description_is_refused(tmp_path: Path, xml: str) -> None:
    with pytest.raises(FmuRefused) as caught:
        described(tmp_path, xml)

    assert caught.value.code == "FMU_INVALID_MODEL_DESCRIPTION"


@pytest.mark.parametrize("content", ["<a>" * 400, f"<a>{'x' * 11_000_000}</a>"])
def test_huge_description_is_refused_in_terms_of_user(tmp_path: Path, content: str) -> None:
    (tmp_path / "modelDescription.xml").write_text(content)

    with pytest.raises(FmuRefused, match="nested too deeply, or has") as refused:
        read_description(tmp_path)

    assert "HUGE" not in str(refused.value)


def test_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FmuRefused, match="not an FMU"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("xml", "code", "words"),
    [
        (FMI2.replace("2.0", "1.0"), "FMU_VERSION_UNSUPPORTED", "export it as FMI 2.0 or 3.0"),
        (FMI3.replace("ModelExchange", "ScheduledExecution"), "FMU_SCHEDULED_EXECUTION", "only"),
    ],
)
def test_unsupported_kind_of_fmu_is_named(tmp_path: Path, xml: str, code: str, words: str) -> None:
    with pytest.raises(FmuRefused, match=words) as caught:
        described(tmp_path, xml)

    assert caught.value.code == code


@pytest.fixture
def _linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.usefixtures("_linux")
@pytest.mark.parametrize(
    ("xml", "binary"),
    [(FMI2, "binaries/linux64/decay.so"), (FMI3, "binaries/x86_64-linux/decay.so")],
)
def test_binary_for_this_machine_is_accepted(tmp_path: Path, xml: str, binary: str) -> None:
    require_binary(["modelDescription.xml", binary], described(tmp_path, xml))


@pytest.mark.usefixtures("_linux")
def test_platform_mismatch_error_lists_platforms(tmp_path: Path) -> None:
    names = ["binaries/win64/decay.dll", "binaries/darwin64/decay.dylib"]

    with pytest.raises(FmuRefused, match=r"linux64, .* it has: darwin64, win64") as caught:
        require_binary(names, described(tmp_path, FMI2))

    assert caught.value.code == "FMU_PLATFORM_MISMATCH"


@pytest.mark.usefixtures("_linux")
def test_library_with_other_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(FmuRefused, match=r"binaries/linux64 has x\.so, but .* names decay\.so"):
        require_binary(["binaries/linux64/x.so"], described(tmp_path, FMI2))


def test_fmu_without_binaries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FmuRefused, match="has no native code"):
        require_binary(["sources/decay.c"], described(tmp_path, FMI2))


def test_noexec_folder_raises_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))

    with pytest.raises(Failure, match="mounted noexec"):
        require_executable(tmp_path)


def test_ordinary_folder_is_executable(tmp_path: Path) -> None:
    require_executable(tmp_path)
