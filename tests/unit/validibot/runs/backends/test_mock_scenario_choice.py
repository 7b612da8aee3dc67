"""Choice of the scenario that a mocked validator plays."""

import pytest
from pytest_django import Settings

from tests.factories import StepFactory, ValidatorFactory, started_run
from validibot.runs.backends import check_backends
from validibot.runs.execute import execute
from validibot.runs.models import Run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_root")]

MARKED = b"! validibot:scenario=fail(2)\n"
FAILED = ("FAIL", 1)


def played(
    filename: str = "a.fmu", body: bytes = b"PK", *, run: str = "", step: str = ""
) -> tuple[str, int]:
    """Return result and number of warnings and errors of a run on a mocked FMU validator."""
    made = started_run(
        step=StepFactory.create(
            validator=ValidatorFactory.create(container=True), config={}, scenario=step
        ),
        filename=filename,
        inline=body,
    )
    Run.objects.filter(pk=made.pk).update(scenario=run)
    execute(made.pk)
    made.refresh_from_db()
    return made.result, made.findings.exclude(severity="INFO").count()


@pytest.fixture
def setting(settings: Settings) -> str:
    settings.EXECUTION_BACKENDS = {
        "default": {
            "BACKEND": "validibot.runs.backends.mock.MockBackend",
            "OPTIONS": {"scenario": "fail(6)", "allow_without_debug": True},
        }
    }
    return "fail(6)"


def test_scenario_sources_have_precedence(setting: str) -> None:
    name = "a.fail-3.fmu"

    assert played(name, MARKED, run="fail(5)", step="fail(4)") == ("FAIL", 5)
    assert played(name, MARKED, step="fail(4)") == ("FAIL", 4)
    assert played(name, MARKED) == ("FAIL", 2)
    assert played(name) == ("FAIL", 3)
    assert played() == ("FAIL", 6)


def test_default_scenario_follows_file_name() -> None:
    assert played("model.fmu") == ("PASS", 0)
    assert played("FAILING.fmu") == FAILED
    assert played("crash-test.fmu") == FAILED


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        ("a.fail.fmu", FAILED),
        ("a.fail-4.fmu", ("FAIL", 4)),
        ("a.v2.warnings-2.fmu", ("PASS", 2)),
        ("a.crash-1.fmu", ("ERROR", 0)),
        ("a.v2.fmu", ("PASS", 0)),
        (f"a{'.v2' * 19}.warnings-2.fmu", ("PASS", 2)),
        (f"a{'.v2' * 20}.warnings-2.fmu", ("PASS", 0)),
        ("pass.fmu", ("PASS", 0)),
    ],
)
def test_file_name_selects_scenario(filename: str, end: tuple[str, int]) -> None:
    assert played(filename) == end


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (b"\0" * 60_000 + MARKED, ("FAIL", 2)),
        (b"\0" * 65_536 + MARKED, ("PASS", 0)),
        (b'{"note": "validibot:scenario=warnings"}', ("PASS", 3)),
        (b"<!-- validibot:scenario=malformed_output -->", ("ERROR", 0)),
    ],
)
def test_marker_in_file_selects_scenario(body: bytes, end: tuple[str, int]) -> None:
    assert played("a.fmu", body) == end


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b"validibot:scenario=explode(3)",
            "'explode(3)' is not a scenario. Choose one of pass, fail(N)",
        ),
        (b"validibot:scenario=fail(x)", "'fail(x)' is not a scenario"),
        (b"validibot:scenario=fail(\xff)", "'fail(\N{REPLACEMENT CHARACTER})' is not a scenario"),
        (b"validibot:scenario=fail(99999)", "N is a whole number from 0 to 5000"),
        (b"validibot:scenario=pass(1)", "pass takes no argument"),
    ],
)
def test_invalid_marker_ends_run_with_error(body: bytes, said: str) -> None:
    assert played("a.fmu", body) == ("ERROR", 0)

    error = Run.objects.get().error
    assert error.startswith("The validator could not be started: the marker in the file: ")
    assert said in error


def test_invalid_setting_is_reported_by_check(settings: Settings, setting: str) -> None:
    assert check_backends() == []
    settings.EXECUTION_BACKENDS["default"]["OPTIONS"]["scenario"] = "fast"

    [message] = check_backends()

    assert message.id == "validibot.runs.E004"
    assert "MOCK_SCENARIO: 'fast' is not a scenario" in message.msg
