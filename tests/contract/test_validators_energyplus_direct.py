"""Verdicts and messages of the validator beside those of the engine alone, on the same files."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import pytest
from validibot_shared.energyplus.envelopes import EnergyPlusInputEnvelope
from validibot_shared.validations.envelopes import ValidationStatus

from validators.energyplus.engine import find_engine
from validators.energyplus.validate import validate
from validators.sdk.manifest import read_manifest, resolve_resource
from validators.sdk.testing import write_envelope
from validators.sdk.validation import ValidationRequest, ValidationResult

FOLDER = Path("validators/energyplus")
MANIFEST = read_manifest(FOLDER)
SAMPLES = FOLDER / "samples"
DESIGN_DAYS = (SAMPLES / "small_office_designday.idf").read_text()
YEAR = (SAMPLES / "small_office.idf").read_text()
PERIOD = "RunPeriod,{name},{month},{day},2017,{month},{end},2017;"
SHORT = re.sub(
    r"RunPeriod,[^;]*;", PERIOD.format(name="Short", month=1, day=1, end=2), YEAR, count=1
)
EMS = """
EnergyManagementSystem:ProgramCallingManager,M,BeginTimestepBeforePredictor,P;
EnergyManagementSystem:Program,P,Set X = @Max 1 2,IF X > 1,Set Y = @Round X,ENDIF;
"""
VARIANTS = {
    "timestep": DESIGN_DAYS.replace("Timestep,4;", "Timestep,6;"),
    "multipliers, templates, EMS, unused objects and one report": DESIGN_DAYS.replace(
        "Zone,Open Office;", "Zone,Open Office,0,0,0,0,1,10;"
    )
    + "HVACTemplate:Thermostat,T,,20,,25;"
    + EMS
    + "Schedule:Constant,Unused,,1;Material,M,Rough,.1,.9,1900,800;"
    + "Output:Table:SummaryReports,EnvelopeSummary;",
    "run periods": SHORT + PERIOD.format(name="Summer", month=7, day=3, end=3),
    "no design days": re.sub(r"SizingPeriod:DesignDay,[^;]*;", "", SHORT),
    "report styles": DESIGN_DAYS
    + "OutputControl:Table:Style,CommaAndHTML,JtoKWH;Output:SQLite,Simple,InchPound;",
    "two databases": DESIGN_DAYS + "Output:SQLite,Simple;Output:SQLite,Simple;",
    "files off": DESIGN_DAYS + "OutputControl:Files,Yes,No,No,No,No,No" + ",No" * 11 + ";",
    "template without zone": DESIGN_DAYS + "HVACTemplate:Zone:IdealLoadsAirSystem,Nowhere;",
    "EMS with an unknown function": DESIGN_DAYS + EMS.replace("@Max 1 2", "@Open 1 2"),
    "older version": DESIGN_DAYS.replace("Version,25.2;", "Version,9.6;"),
    "no version": DESIGN_DAYS.replace("Version,25.2;", ""),
    "parametric": DESIGN_DAYS + "Parametric:SetValueForRun,$a,1;",
    "unknown class": DESIGN_DAYS + "NotAnObject,1;",
    "bad reference": DESIGN_DAYS.replace("Zone,Open Office;", "Zone,Elsewhere;"),
    "bad number": DESIGN_DAYS.replace("Timestep,4;", "Timestep,abc;"),
    "macros": DESIGN_DAYS.replace("Timestep,4;", "##set1 steps[] 6\nTimestep,steps[];\n"),
}
EXPANDED = ("macros", "timestep")  # the first one is compared with the other
_MESSAGE = re.compile(r"\s*(?:\*{5,}\s+)?\*\*\s*(Warning|Severe|Fatal)\s*\*\*\s?(.*)")


def direct(folder: Path, model: Path) -> tuple[bool, list[str]]:
    """Run the engine alone; return whether it succeeded, and the first lines of its messages."""
    engine = find_engine()
    weather = resolve_resource(MANIFEST.resource_ports[0].default)
    expand = ["-x"] if "HVACTemplate" in model.read_text() else []
    ended = subprocess.run(
        [engine.binary, *expand, "-w", weather, "-d", folder, model.absolute()],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    lines = (folder / "eplusout.err").read_text().splitlines()
    found = [match for line in lines if (match := _MESSAGE.match(line))]
    texts = sorted(f"{match[1]}: {match[2].strip()}" for match in found)
    return ended.returncode == 0 and all(text.startswith("Warning") for text in texts), texts


def validated(folder: Path, model: Path, further: Mapping[str, Path]) -> ValidationResult:
    envelope = write_envelope(folder, MANIFEST, model).read_bytes()
    (folder / "work").mkdir()
    return validate(
        ValidationRequest(
            envelope=EnergyPlusInputEnvelope.model_validate_json(envelope),
            files={
                "primary_model": model,
                "weather_file": resolve_resource(MANIFEST.resource_ports[0].default),
            },
            further_files=further,
            folder=folder / "work",
            deadline=monotonic() + 100,
        )
    )


def engine_messages(result: ValidationResult) -> list[str]:
    levels = {f"ENERGYPLUS_{level.upper()}": level for level in ("Warning", "Severe", "Fatal")}
    return sorted(
        f"{levels[message.code]}: {message.text.splitlines()[0]}"
        for message in result.messages
        if message.code in levels
    )


def assert_equal_to_direct_run(
    folder: Path, model: Path, submitted: Path | None = None, **further: Path
) -> None:
    """Compare the verdict and the messages about `submitted` with the engine's about `model`."""
    (folder / "direct").mkdir()

    succeeded, texts = direct(folder / "direct", model)
    result = validated(
        folder, submitted or model, {f"{name}.csv": path for name, path in further.items()}
    )

    assert (result.status is ValidationStatus.SUCCESS, engine_messages(result)) == (
        succeeded,
        texts,
    )


# The sample for a whole year is that for design days with a run period, which a variant has.
@pytest.mark.parametrize(
    "sample", sorted(path.name for path in SAMPLES.iterdir() if path.name != "small_office.idf")
)
def test_sample_gets_verdict_and_messages_of_engine(tmp_path: Path, sample: str) -> None:
    assert_equal_to_direct_run(tmp_path, SAMPLES / sample)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in EXPANDED])
def test_variant_gets_verdict_and_messages_of_engine(tmp_path: Path, variant: str) -> None:
    (tmp_path / "model.idf").write_text(VARIANTS[variant])

    assert_equal_to_direct_run(tmp_path, tmp_path / "model.idf")


def test_macros_give_verdict_and_messages_of_expanded_model(tmp_path: Path) -> None:
    (tmp_path / "macros.idf").write_text(VARIANTS["macros"])
    (tmp_path / "expanded.idf").write_text(VARIANTS["timestep"])

    assert_equal_to_direct_run(tmp_path, tmp_path / "expanded.idf", tmp_path / "macros.idf")


def test_schedule_file_gives_verdict_and_messages_of_engine(tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_text(
        DESIGN_DAYS + "Schedule:File,Use,,data\\use.csv,1,0,8760,Comma,No,60,No;"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data/use.csv").write_text("0.5\n" * 8760)

    assert_equal_to_direct_run(tmp_path, tmp_path / "model.idf", USE=tmp_path / "data/use.csv")


def test_macro_with_built_include_reads_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.inc"
    secret.write_text("Zone,Secret;")
    text = f"##def inc[x]\n##include x\n##enddef\ninc[{secret}]\nZone,A;\n"

    _, output = find_engine().expand_macros(text, folder=tmp_path, timeout=10, memory_mb=None)

    assert b"Zone,A" in output
    assert b"Secret" not in output
    assert b"cannot find/read include file" in output
