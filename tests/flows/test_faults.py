"""Faults of the emulated cloud under the product: each run passes once, and the journal says why."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.flows.stack import Stack
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("stack")

FMU = "fmu-decay"
ENQUEUE = "tasks.CloudTasks.CreateTask"


@pytest.fixture(autouse=True)
def _no_faults_afterwards(stack: Stack) -> Iterator[None]:
    yield
    stack.devenv("fault", "remove")


def add(stack: Stack, *arguments: str) -> str:
    done = stack.devenv("fault", "add", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


PASS, ERROR = "PASS", "ERROR"
ENDS = ("passed", "failed", "error", "timed_out", "canceled")
# A validator sends its callback again for half a minute, unless it is told that this is useless.
CALLBACK = ("run.invoke", "--resource", "*/callbacks/*", "--status", "404")
# Not a later attempt of a run of another test.
ATTEMPT = ("run.attempt", "--caller", "validator-fmu", "--outcome")


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (PASS, ("run.Jobs.RunJob", "--status", "429")),
        (PASS, ("run.Jobs.RunJob", "--lose-answer")),
        (PASS, ("run.invoke", "--caller", "validator-fmu", "--lose-answer")),
        (PASS, CALLBACK),
        (PASS, ("deliver", "--lose-answer")),
        (PASS, ("deliver", "--duplicate")),
        (PASS, ("deliver", "--delay", "1")),
        (PASS, ("storage.objects.insert", "--caller", "worker", "--reset")),
        (PASS, ("storage.*", "--caller", "worker", "--status", "401")),
        (ERROR, (*ATTEMPT, "crash")),
        (ERROR, (*ATTEMPT, "out_of_memory")),
        ("CANCELED", (*ATTEMPT, "hang")),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else each,
)
def test_run_ends_once_whatever_fails(stack: Stack, result: str, fault: tuple[str, ...]) -> None:
    number = add(stack, *fault)
    sample = stack.sample(FMU)

    launched = stack.launch(FMU, sample.read_bytes(), sample.name).raise_for_status().json()
    path = f"runs/{launched['id']}"
    struck = stack.until(lambda: calls(stack, number))
    if "hang" in fault:
        stack.until(lambda: "running" in stack.events(launched["id"]))
        stack.api.post(f"{path}/cancel/").raise_for_status()
    run = until(lambda: reconciled(stack, launched["id"]), every=1.0)

    assert run
    assert run["result"] == result
    ends = [each for each in stack.events(launched["id"]) if each in ENDS]
    assert len(ends) == 1
    assert {call["fault"] for call in struck} == {number}


def reconciled(stack: Stack, run: str) -> dict[str, Any] | None:
    """Return a run if it has ended, else have the schedule act that looks after lost callbacks."""
    document = stack.get_run(run)
    if document["state"] == "COMPLETED":
        return document
    folder = stack.root / ".devenv" / "gcp"
    plain = json.loads((folder / "endpoints.json").read_text())["plain"]
    headers = {"Authorization": f"Bearer {(folder / 'control-token').read_text()}"}
    url = f"{plain}/v1/projects/validibot-local/locations/us-west1/jobs/reconcile:run"
    httpx.post(url, headers=headers, json={}, trust_env=False).raise_for_status()
    return None


def calls(stack: Stack, fault: str) -> list[dict[str, str]]:
    """Return the calls that a fault has struck."""
    found: list[dict[str, str]] = json.loads(stack.devenv("journal", "--json", "-n", "500").stdout)
    return [call for call in found if call["fault"] == fault]


def test_fault_is_listed_and_removed(stack: Stack) -> None:
    number = add(stack, ENQUEUE, "--status", "429", "--times", "5", "--caller", "scheduler")

    shown = stack.devenv("fault", "list").stdout
    removed = stack.devenv("fault", "remove", number)

    assert f"{ENQUEUE} caller scheduler → status 429" in shown
    assert removed.returncode == 0
    assert "There is no fault" in stack.devenv("fault", "list").stdout


def test_fault_that_cannot_strike_is_refused(stack: Stack) -> None:
    none = stack.devenv("fault", "add", "storage.objects.insert", "--status", "503", "--times", "0")
    assert "times 0 is not between 1 and" in none.stderr
    done = stack.devenv("fault", "add", "storage.object.insert", "--status", "503")

    assert done.returncode == 1
    assert "Similar: storage.objects.insert" in done.stderr


def test_journal_is_filtered_by_caller(stack: Stack) -> None:
    stack.run(FMU, stack.sample(FMU))

    calls = json.loads(
        stack.devenv("journal", "--caller", "web@*", "--method", ENQUEUE, "--json").stdout
    )

    assert calls[0]["permission"] == "cloudtasks.tasks.create"
    assert {call["method"] for call in calls} == {ENQUEUE}
    assert stack.devenv("missing").returncode == 0
