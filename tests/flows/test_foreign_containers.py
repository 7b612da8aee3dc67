"""Foreign containers, correct and faulty: each run ends once, with the reason."""

from dataclasses import dataclass

import pytest

from tests.flows.foreign import VARIANTS, launch
from tests.flows.identity import Identity
from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("foreign"), pytest.mark.timeout(180), pytest.mark.both_clouds]

ENDS = ("passed", "failed", "error", "timed_out", "canceled")
NOTHING = "The validator stored no output."


@dataclass(frozen=True)
class End:
    """The end of a run: its result, the start of its error, the findings, and the detecting part."""

    result: str
    error: str = ""
    findings: tuple[str, ...] = ()
    heard_by: str = "validator"


_FOUND = ("The tool found a problem.",)
_WORDLESS = ("The validator failed.",)
ENDINGS = {
    "energyplus-success": End("PASS"),
    "energyplus-failed-validation": End("FAIL", "", _FOUND),
    "energyplus-failed-runtime": End("ERROR", _FOUND[0], _FOUND),
    "energyplus-explode": End("ERROR", _WORDLESS[0], _WORDLESS),
    "energyplus-explode-again": End("ERROR", _WORDLESS[0], _WORDLESS),
    "energyplus-vanish": End("ERROR", NOTHING, heard_by="reconcile"),
    "energyplus-die": End("ERROR", NOTHING, heard_by="reconcile"),
    "energyplus-silent": End("PASS", heard_by="reconcile"),
    "fmu-success": End("PASS"),
    "fmu-explode": End("ERROR", _WORDLESS[0], _WORDLESS),
    "fmu-vanish": End("ERROR", NOTHING, heard_by="reconcile"),
    "fmu-hang": End("ERROR", NOTHING, heard_by="reconcile"),
}


@pytest.fixture(scope="module")
def runs(foreign: Stack) -> dict[str, str]:
    """Start all runs at once; each test waits for its own."""
    return {one.slug: launch(foreign, one) for one in VARIANTS if one.slug in ENDINGS}


@pytest.mark.parametrize("slug", ENDINGS)
def test_foreign_container_ends_run_once(foreign: Stack, runs: dict[str, str], slug: str) -> None:
    run, expected = foreign.finished(runs[slug]), ENDINGS[slug]

    assert run["result"] == expected.result, run
    assert run["error"].startswith(expected.error), run
    assert bool(run["error"]) is (expected.result == "ERROR")
    found = [issue["message"] for step in run["steps"] for issue in step["issues"]]
    assert tuple(found) == expected.findings
    _heard_once(foreign, runs[slug], by=expected.heard_by)


def _heard_once(stack: Stack, run: str, *, by: str) -> None:
    history = stack.history(run)
    assert [event["actor"] for event in history if event["kind"] == "called_back"] == [by]
    assert sum(event["kind"] in ENDS for event in history) == 1


def _execution(stack: Stack, run: str) -> dict[str, object]:
    """Wait for the end of the execution and return it as Cloud Run shows it."""
    name = stack.told(run, "running", "execution")
    url = f"https://us-west1-run.googleapis.com/v2/{name}"
    worker = Identity(stack, "worker")

    def ended() -> dict[str, object] | None:
        execution: dict[str, object] = worker.get(url).json()
        return execution if "completionTime" in execution else None

    found: dict[str, object] = stack.until(ended)
    return found


@pytest.mark.parametrize(
    ("slug", "count"),
    [
        ("energyplus-success", "succeededCount"),
        ("energyplus-failed-validation", "succeededCount"),
        ("energyplus-explode", "failedCount"),
        ("fmu-success", "succeededCount"),
        ("fmu-hang", "failedCount"),
    ],
)
def test_exit_code_follows_contract(
    foreign: Stack, runs: dict[str, str], slug: str, count: str
) -> None:
    foreign.finished(runs[slug])

    assert _execution(foreign, runs[slug])[count] == 1


def test_second_execution_repeats_callback_only(foreign: Stack, runs: dict[str, str]) -> None:
    run = runs["energyplus-explode-again"]
    before = foreign.finished(run)

    execution = _execution(foreign, run)

    assert (execution["retriedCount"], execution["succeededCount"]) == (1, 1)
    assert foreign.get_run(run) == before
    _heard_once(foreign, run, by="validator")


def test_outputs_and_artifacts_are_shown(foreign: Stack, runs: dict[str, str]) -> None:
    (step,) = foreign.finished(runs["energyplus-success"])["steps"]

    values = {output["slug"]: output["value"] for output in step["output_values"]}
    assert values["site_eui_kwh_m2"] == 120.5
    names = {artifact["name"] for artifact in step["artifacts"]}
    assert names == {"eplusout.sql", "eplusout.err", "eplusout.csv"}


def test_cancel_stops_hanging_container(foreign: Stack) -> None:
    (hanging,) = [variant for variant in VARIANTS if variant.slug == "energyplus-hang"]
    run = launch(foreign, hanging)
    foreign.until(lambda: "running" in foreign.events(run))

    assert foreign.api.post(f"runs/{run}/cancel/").status_code == 200

    assert foreign.finished(run)["result"] == "CANCELED"
    assert _execution(foreign, run)["cancelledCount"] == 1
