"""The weather catalogue: loading, choice by step and launch, and what a run keeps of it."""

import hashlib
import json
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import AttemptFactory, StepFactory, StepFileFactory, ValidatorFactory
from validibot.core.storage import get_storage
from validibot.runs.access import NotAdmitted
from validibot.runs.backends import get_backend
from validibot.runs.backends.mock import MockBackend
from validibot.runs.envelope import store_envelope
from validibot.runs.evidence import evidence_of, record_evidence
from validibot.runs.models import Run
from validibot.runs.start import start
from validibot.submissions.content import Incoming, measure
from validibot.workflows.models import WEATHER_TYPE, Step, WeatherFile, WeatherUnknown, Workflow

pytestmark = pytest.mark.django_db

EPW = "LOCATION,{},CO,USA,TMY3,724666,39.74,-105.18,-7.0,1829.0\r\nDESIGN CONDITIONS,0\r\n"


@pytest.fixture(autouse=True)
def _data_root(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_ROOT = (tmp_path / "data").as_uri()
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two EPW files, one of them with its design days and statistics."""
    made = tmp_path / "weather"
    made.mkdir()
    (made / "USA_CO_Golden.epw").write_text(EPW.format("Golden   Nr"))
    (made / "USA_CO_Golden.ddy").write_text("SizingPeriod:DesignDay,winter;")
    (made / "USA_CO_Golden.STAT").write_text("Statistics for USA_CO_Golden")
    (made / "USA_FL_Tampa.epw").write_text(EPW.format("Tampa"))
    return made


@pytest.fixture
def catalogue(folder: Path) -> Path:
    call_command("load_weather", folder, stdout=StringIO())
    return folder


@pytest.fixture
def step() -> Step:
    """A container step with weather of its own."""
    ports = [
        {"port_key": key, "type": kind, "name": key, "channel": "resource_files", "default": ""}
        for key, kind in (
            ("weather_file", WEATHER_TYPE),
            ("design_days", "energyplus_design_days"),
            ("weather_statistics", "energyplus_weather_statistics"),
        )
    ]
    role = {"port_key": "document", "role": "document", "channel": "input_files"}
    step = StepFactory.create(validator=ValidatorFactory.create(container=True))
    step.validator.ports = [role, *ports]
    step.validator.save()
    StepFileFactory.create(step=step, port_key="weather_file", name="own.epw")
    StepFileFactory.create(step=step, port_key="weather_statistics", name="own.stat")
    return step


def launched(step: Step, weather: str = "") -> Run:
    source = BytesIO(b"{}")
    incoming = Incoming(source, "model.json", *measure(source), weather=weather)
    Workflow.objects.update(is_active=True)
    step.validator.accepts = []
    step.validator.save()
    workflow = Workflow.objects.get(pk=step.workflow_id)
    return start(workflow, incoming, user=None, source=Run.Source.API).run


def resources(run: Run) -> dict[str, str]:
    """Return the names of the files in the envelope by port."""
    step_run = run.steps.get()
    bundle = f"{django_settings.DATA_ROOT}/attempts/{run.pk}"
    uris = {"bundle_uri": bundle, "input_uri": f"{bundle}/input.json"}
    attempt = AttemptFactory.create(step_run=step_run, **uris)
    store_envelope(attempt, step_run, run, nonce="n" * 43, backend=get_backend())
    content = get_storage(attempt.input_uri).read(attempt.input_uri, limit=100_000)
    return {item["port_key"]: item["name"] for item in json.loads(content)["resource_files"]}


def test_command_loads_files_once_with_those_beside_them(catalogue: Path) -> None:
    golden, tampa = WeatherFile.objects.all()

    assert (golden.name, golden.location) == ("USA_CO_Golden", "Golden Nr, CO, USA")
    names = ["USA_CO_Golden.epw", "USA_CO_Golden.ddy", "USA_CO_Golden.STAT"]
    assert [file["name"] for file in golden.files] == names
    assert len(tampa.files) == 1
    content = (catalogue / "USA_CO_Golden.epw").read_bytes()
    epw = golden.files[0]
    assert epw["sha256"] == hashlib.sha256(content).hexdigest()
    assert get_storage(epw["uri"]).read(epw["uri"], limit=1000) == content

    call_command("load_weather", catalogue, stdout=StringIO())

    assert list(WeatherFile.objects.all()) == [golden, tampa]
    listed = StringIO()
    call_command("load_weather", stdout=listed)
    assert "USA_FL_Tampa  Tampa, CO, USA" in listed.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.epw", "Date,Hour", "first line must be LOCATION"),
        ("a.txt", EPW, "must end in .epw"),
        ("a.epw", "", "has 0 bytes"),
    ],
)
def test_file_that_is_no_weather_is_refused_by_name(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(CommandError, match=f"{name} .*{reason}"):
        call_command("load_weather", tmp_path / name)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("name", ["USA_CO_Golden", "usa_co_golden.EPW", " USA_CO_Golden.epw "])
def test_name_is_found_without_regard_to_case_and_suffix(name: str) -> None:
    assert WeatherFile.named(name).name == "USA_CO_Golden"


@pytest.mark.usefixtures("catalogue")
def test_unknown_name_lists_nearest_first() -> None:
    with pytest.raises(WeatherUnknown, match=r"names: USA_FL_Tampa, USA_CO_Golden\.$"):
        WeatherFile.named("tampa")


@pytest.mark.usefixtures("catalogue")
def test_step_with_unknown_weather_is_refused(step: Step) -> None:
    step.weather = "Goldn"
    with pytest.raises(ValidationError, match="USA_CO_Golden"):
        step.save()

    with pytest.raises(ValidationError, match="takes no weather"):
        StepFactory.create(weather="USA_CO_Golden")


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("own", "asked", "used"),
    [
        ("", "", {"weather_file": "own.epw", "weather_statistics": "own.stat"}),
        ("USA_FL_Tampa", "", {"weather_file": "USA_FL_Tampa.epw"}),
        (
            "USA_FL_Tampa",
            "usa_co_golden",
            {
                "weather_file": "USA_CO_Golden.epw",
                "design_days": "USA_CO_Golden.ddy",
                "weather_statistics": "USA_CO_Golden.STAT",
            },
        ),
    ],
)
def test_launch_decides_before_step_and_step_before_its_file(
    step: Step, own: str, asked: str, used: dict[str, str]
) -> None:
    step.weather = own
    step.save()

    assert resources(launched(step, asked)) == used


def test_run_keeps_weather_that_is_replaced_later(step: Step, catalogue: Path) -> None:
    run = launched(step, "USA_FL_Tampa")
    before = WeatherFile.named("USA_FL_Tampa").files[0]["sha256"]
    (catalogue / "USA_FL_Tampa.epw").write_text(EPW.format("Elsewhere"))
    call_command("load_weather", catalogue, stdout=StringIO())
    Run.objects.update(status="SUCCEEDED", ended_at=run.created_at)

    record_evidence(run.pk)

    weather = evidence_of(run).contents["steps"][0]["weather"]
    assert weather["name"] == "USA_FL_Tampa"
    assert [file["sha256"] for file in weather["files"]] == [before]
    assert WeatherFile.named("USA_FL_Tampa").files[0]["sha256"] != before


@pytest.mark.usefixtures("catalogue")
def test_unusable_weather_of_launch_is_refused(step: Step) -> None:
    with pytest.raises(NotAdmitted, match="nearest names: USA_CO_Golden") as unknown:
        launched(step, "Golden")
    assert (unknown.value.code, unknown.value.status) == ("WEATHER_UNKNOWN", 400)
    assert unknown.value.field == "weather"

    with pytest.raises(NotAdmitted) as unsupported:
        launched(StepFactory.create(), "USA_CO_Golden")
    assert unsupported.value.code == "WEATHER_UNSUPPORTED"
    assert not Run.objects.exists()


@pytest.mark.usefixtures("catalogue")
def test_launch_without_required_file_names_step_and_remedy(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MockBackend, "plays_scenarios", False)
    weather = next(port for port in step.validator.ports if port.get("type") == WEATHER_TYPE)
    weather["required"] = True
    launched(step)
    step.files.all().delete()
    launched(step, "USA_FL_Tampa")

    with pytest.raises(NotAdmitted) as missing:
        launched(step)

    assert (missing.value.code, missing.value.field) == ("STEP_FILE_MISSING", "")
    assert str(missing.value) == (
        "Step 1, Check it, has no file for 'weather_file', which JSON Schema needs. Name weather of the"
        " catalogue in this launch, or choose it in the step."
    )
