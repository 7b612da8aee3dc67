"""The FMU of a step: reading its variables once, and the names that its settings may have."""

import datetime as dt
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.tasks import task_backends
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tests.factories import StepFactory, ValidatorFactory, WorkflowFactory
from validibot.core.echo import echo
from validibot.engines.scope import build_scope
from validibot.runs.sweep import run_sweep
from validibot.workflows import editing, fmu
from validibot.workflows.exporting import export_bundle
from validibot.workflows.importing import import_workflow
from validibot.workflows.models import FmuDescription, FmuState, Step, StepFile
from validibot.workflows.scope import names_in_scope
from validibot.workflows.versions import freeze, next_version
from validibot.workflows.weather import store_by_digest

LONG = "x" * 5000
pytestmark = pytest.mark.django_db
DESCRIPTION = """<fmiModelDescription fmiVersion="2.0"><CoSimulation modelIdentifier="m"/>
<TypeDefinitions><SimpleType name="T"><Real unit="K" min="200"/></SimpleType></TypeDefinitions>
<ModelVariables>
  <ScalarVariable name="inner" valueReference="9"><Real/></ScalarVariable>
  <ScalarVariable name="room.temperature" valueReference="1" causality="output"
    description="Air of the room"><Real declaredType="T"/></ScalarVariable>
  <ScalarVariable name="level" valueReference="2" causality="output"><Real unit="m"/></ScalarVariable>
  <ScalarVariable name="in" valueReference="4" causality="output"><Real/></ScalarVariable>
  <ScalarVariable name="rate" valueReference="3" causality="parameter" variability="fixed">
    <Real start="1.5" unit="1/s" max="9"/></ScalarVariable>
</ModelVariables></fmiModelDescription>"""


def fmu_of(description: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("modelDescription.xml", description)
    return content.getvalue()


@pytest.fixture
def step(settings: Settings, tmp_path: Path) -> Step:
    """A saved step of the FMU validator."""
    settings.DATA_ROOT = tmp_path.as_uri()
    port = {"port_key": "model", "type": fmu.FMU_TYPE, "channel": "resource_files", "name": "FMU"}
    validator = ValidatorFactory.create(
        container=True, slug="fmu", validation_type="FMU", ports=[port]
    )
    made: Step = StepFactory.create(validator=validator, config={})
    return made


def stored(step: Step, content: bytes) -> StepFile:
    """Return a stored file of the step that nobody has asked to read."""
    uri, version, sha256 = store_by_digest("room.fmu", content)
    file: StepFile = step.files.create(
        port_key="model",
        name="room.fmu",
        type=fmu.FMU_TYPE,
        uri=uri,
        storage_version=version,
        size_bytes=len(content),
        sha256=sha256,
    )
    return file


@pytest.fixture
def described(
    step: Step, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> Step:
    """A step whose FMU was read."""
    with django_capture_on_commit_callbacks(execute=True):
        fmu.request_probe(stored(step, fmu_of(DESCRIPTION)))
    return step


def test_probe_stores_interface_first_with_declared_values(described: Step) -> None:
    description = fmu.description_of(described)
    assert description is not None
    temperature, level, _word, rate, inner = fmu.variables_of(description)

    assert description.state == FmuState.READ
    assert (temperature.name, temperature.unit, temperature.minimum) == (
        "room.temperature",
        "K",
        "200",
    )
    assert (temperature.description, level.unit) == ("Air of the room", "m")
    assert (rate.start, rate.maximum, rate.type) == ("1.5", "9", "Real")
    assert inner.causality == "local"


def test_repeated_probe_changes_nothing(described: Step) -> None:
    FmuDescription.objects.update(variables=[])

    fmu.probe_fmu.call(described.files.get().pk)
    fmu.probe_fmu.call(0)

    assert FmuDescription.objects.get().variables == []


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"no archive", "not a readable zip archive"),
        (fmu_of("<a/>"), "export the model as FMI 2.0 or 3.0"),
    ],
)
def test_unusable_fmu_is_refused_with_reason(step: Step, content: bytes, error: str) -> None:
    file = stored(step, content)
    FmuDescription.objects.create(file=file)

    fmu.probe_fmu.call(file.pk)

    description = FmuDescription.objects.get()
    assert (description.state, error in description.error) == (FmuState.REFUSED, True)


def test_lost_file_is_refused_with_next_step(step: Step) -> None:
    file = stored(step, b"x")
    StepFile.objects.filter(pk=file.pk).update(uri=f"{file.uri}-lost")
    FmuDescription.objects.create(file=file)

    fmu.probe_fmu.call(file.pk)

    assert "Upload it again" in FmuDescription.objects.get().error


def test_many_long_unknown_names_give_bounded_problems(described: Step) -> None:
    variables = FmuDescription.objects.get().variables
    names = [f"{number:06}{'a' * 300}" for number in range(5000)]
    FmuDescription.objects.update(variables=[variables[0] | {"name": name} for name in names])
    config = {"output_variables": ["a" * 300 + str(number) for number in range(500)]}

    problems = fmu.name_problems(fmu.description_of(described), config)

    assert len(problems) == fmu.MAX_NAME_PROBLEMS


def test_sweep_asks_again_for_lost_probe_until_a_day_has_passed(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stored(step, b"x")
    asked = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    FmuDescription.objects.create(file=file, requested_at=asked)

    def lost(**after: float) -> list[tuple[int, str]]:
        return fmu.lost_probes(asked + dt.timedelta(**after), limit=9)

    key = f"probe-{file.pk}-{int(asked.timestamp())}"
    assert lost(seconds=59) == []
    assert lost(seconds=61) == lost(minutes=59) == [(file.pk, f"{key}-0")]
    assert lost(minutes=61) == [(file.pk, f"{key}-1")]
    assert lost(hours=25) == []
    assert FmuDescription.objects.get().state == FmuState.REFUSED


def test_lost_probe_is_repeated_by_sweep(step: Step) -> None:
    description = FmuDescription.objects.create(
        file=stored(step, fmu_of(DESCRIPTION)), requested_at=timezone.now() - dt.timedelta(hours=2)
    )

    assert run_sweep()["probes"] == 1

    description.refresh_from_db()
    assert description.state == FmuState.READ


def test_probe_goes_to_a_queue_of_its_own() -> None:
    assert fmu.probe_fmu.queue_name == fmu.QUEUE
    assert fmu.QUEUE in task_backends["default"].queues


def test_unknown_names_are_refused_with_the_nearest(described: Step) -> None:
    config = {
        "input_values": {"rat": 1, LONG: 1, "rate": 2, "validibot:relaxed_xml": True},
        "output_variables": ["levle", "inner"],
    }
    problems = list(fmu.name_problems(fmu.description_of(described), config))

    assert [each.place for each in problems] == [
        *(("input_values", name) for name in ("rat", LONG)),
        ("output_variables",),
    ]
    assert "Did you mean 'rate'?" in problems[0].message
    assert problems[1].message.startswith(f"The model has no variable {echo(LONG)}.")
    assert "Did you mean 'level'?" in problems[2].message


def test_names_are_accepted_before_the_fmu_was_read(step: Step) -> None:
    FmuDescription.objects.create(file=stored(step, b"x"))

    assert not list(fmu.name_problems(fmu.description_of(step), {"output_variables": ["x"]}))


def test_next_version_keeps_the_variables(described: Step) -> None:
    copy = next_version(freeze(described.workflow)).workflow

    variables = fmu.variables_of(fmu.description_of(copy.steps.get()))
    assert [each.name for each in variables][1] == "level"


def test_copy_of_unread_fmu_is_read_on_its_own(
    step: Step, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    FmuDescription.objects.create(file=stored(step, fmu_of(DESCRIPTION)))

    with django_capture_on_commit_callbacks(execute=True):
        copy = next_version(freeze(step.workflow)).workflow

    assert FmuDescription.objects.get(file__step__workflow=copy).state == FmuState.READ


def test_deleted_workflow_takes_its_descriptions_with_it(described: Step) -> None:
    editing.delete(described.workflow)

    assert not FmuDescription.objects.exists()


def test_imported_bundle_reads_its_fmu(
    described: Step, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    bundle = export_bundle(described.workflow)
    organisation = WorkflowFactory.create().organisation

    with django_capture_on_commit_callbacks(execute=True):
        made = import_workflow(bundle, organisation=organisation, author=None)

    assert FmuDescription.objects.get(file__step__workflow=made).state == FmuState.READ


def test_outputs_of_the_model_are_names_in_scope(described: Step) -> None:
    later = StepFactory.create(workflow=described.workflow, order=described.order + 1)
    own = {each.text: each for each in names_in_scope(described)}

    assert own["o.level"].description == "output of the model [m] (Real)"
    assert {"o['room.temperature']", "o['in']", "s.level"} <= own.keys()
    assert not {"o.rate", "o.inner"} & own.keys()
    assert f"steps['{described.order}'].level" in {each.text for each in names_in_scope(later)}


def test_scope_has_model_outputs_by_their_names() -> None:
    outputs: dict[str, Any] = {"model_name": "M", "output_values": {"level": 2, "model_name": 1}}
    scope = build_scope(
        payload=None,
        outputs=outputs,
        earlier={"1": outputs},
        constants=[],
        submission={},
        inputs={},
    )

    for values in (scope["output"], scope["s"], scope["steps"]["1"]):
        assert (values["level"], values["model_name"]) == (2, "M")
