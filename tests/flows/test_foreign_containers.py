"""Foreign containers, correct and faulty: each run ends once, with the reason."""

from dataclasses import dataclass

import pytest

from tests.flows.foreign import VARIANTS, launch
from tests.flows.identity import FlowIdentity
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

ENDS = ("passed", "failed", "error", "timed_out", "canceled")
NOTHING = "The validator stored no output."
OVERDUE = "The validator did not answer within its 3 seconds."
_OUTPUT_EVENTS = ("called_back", "output_found")


@dataclass(frozen=True)
class End:
    """The end of a run: its result, the start of its error, its findings, the output's event."""

    result: str
    error: str = ""
    findings: tuple[str, ...] = ()
    event: str = "called_back"


_FOUND = ("The tool found a problem.",)
_WORDLESS = ("The validator failed.",)
ENDINGS = {
    "energyplus-success": End("PASS"),
    "energyplus-failed-validation": End("FAIL", "", _FOUND),
    "energyplus-failed-runtime": End("ERROR", _FOUND[0], _FOUND),
    "energyplus-explode": End("ERROR", _WORDLESS[0], _WORDLESS),
    "energyplus-explode-again": End("ERROR", _WORDLESS[0], _WORDLESS),
    "energyplus-vanish": End("ERROR", NOTHING, event=""),
    "energyplus-die": End("ERROR", NOTHING, event=""),
    "energyplus-silent": End("PASS", event="output_found"),
    "fmu-success": End("PASS"),
    "fmu-explode": End("ERROR", _WORDLESS[0], _WORDLESS),
    "fmu-vanish": End("ERROR", NOTHING, event=""),
    "fmu-hang": End("TIMED_OUT", OVERDUE, event=""),
}
# Success, an error, death without an output, and time that is over, as the container's engine tells it.
OF_CONTAINERS = ("energyplus-success", "energyplus-explode-again", "energyplus-die", "fmu-hang")


@pytest.fixture(scope="module")
def runs(foreign: Stack) -> dict[str, str]:
    """Start all runs at once; each test waits for its own."""
    wanted = OF_CONTAINERS if foreign.servers else ENDINGS
    return {one.slug: launch(foreign, one) for one in VARIANTS if one.slug in wanted}


@pytest.mark.both_clouds
@pytest.mark.parametrize("slug", OF_CONTAINERS)
def test_foreign_container_ends_run_once(foreign: Stack, runs: dict[str, str], slug: str) -> None:
    _check_end(foreign, runs, slug)


@pytest.mark.parametrize("slug", sorted(ENDINGS.keys() - set(OF_CONTAINERS)))
def test_other_end_of_foreign_container_ends_run_once(
    foreign: Stack, runs: dict[str, str], slug: str
) -> None:
    _check_end(foreign, runs, slug)


def _check_end(foreign: Stack, runs: dict[str, str], slug: str) -> None:
    run, expected = foreign.finished(runs[slug]), ENDINGS[slug]

    assert run["result"] == expected.result, run
    assert run["error"].startswith(expected.error), run
    assert bool(run["error"]) is (expected.result in ("ERROR", "TIMED_OUT"))
    found = [issue["message"] for step in run["steps"] for issue in step["issues"]]
    assert tuple(found) == expected.findings
    _check_events(foreign, runs[slug], output=expected.event)


def _check_events(stack: Stack, run: str, *, output: str) -> None:
    history = stack.history(run)
    outputs = [event["kind"] for event in history if event["kind"] in _OUTPUT_EVENTS]
    assert outputs == ([output] if output else [])
    assert sum(event["kind"] in ENDS for event in history) == 1


def _execution(stack: Stack, run: str) -> dict[str, object]:
    """Wait for the end of the execution and return it as Cloud Run shows it."""
    name = stack.told(run, "running", "execution")
    url = f"https://us-west1-run.googleapis.com/v2/{name}"
    worker = FlowIdentity(stack, "worker")

    def ended() -> dict[str, object] | None:
        execution: dict[str, object] = worker.get(url).json()
        return execution if "completionTime" in execution else None

    found: dict[str, object] = stack.until(ended)
    return found


@pytest.mark.both_clouds
@pytest.mark.parametrize(
    ("slug", "count"), [("energyplus-success", "succeededCount"), ("fmu-hang", "failedCount")]
)
def test_exit_code_follows_contract(
    foreign: Stack, runs: dict[str, str], slug: str, count: str
) -> None:
    foreign.finished(runs[slug])

    assert _execution(foreign, runs[slug])[count] == 1


@pytest.mark.both_clouds
def test_second_execution_repeats_callback_only(foreign: Stack, runs: dict[str, str]) -> None:
    run = runs["energyplus-explode-again"]
    before = foreign.finished(run)

    execution = _execution(foreign, run)

    assert (execution["retriedCount"], execution["succeededCount"]) == (1, 1)
    assert foreign.get_run(run) == before
    _check_events(foreign, run, output="called_back")


def test_outputs_and_artifacts_are_shown(foreign: Stack, runs: dict[str, str]) -> None:
    (step,) = foreign.finished(runs["energyplus-success"])["steps"]

    values = {output["slug"]: output["value"] for output in step["output_values"]}
    assert values["site_eui_kwh_m2"] == 120.5
    names = {artifact["name"] for artifact in step["artifacts"]}
    assert names == {"eplusout.sql", "eplusout.err", "eplusout.csv"}


@pytest.mark.both_clouds
def test_cancel_stops_hanging_container(foreign: Stack) -> None:
    (hanging,) = [variant for variant in VARIANTS if variant.slug == "energyplus-hang"]
    run = launch(foreign, hanging)
    foreign.until(lambda: "running" in foreign.events(run))

    assert foreign.api.post(f"runs/{run}/cancel/").status_code == 200

    assert foreign.finished(run)["result"] == "CANCELED"
    assert _execution(foreign, run)["cancelledCount"] == 1
