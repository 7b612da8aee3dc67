"""Faults of the emulated cloud under the product: each run passes once, and the journal says why."""

import json
from collections.abc import Iterator

import pytest

from tests.flows.stack import Stack

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


@pytest.mark.parametrize(
    "fault",
    [
        ("run.Jobs.RunJob", "--status", "503"),
        ("run.Jobs.RunJob", "--lose-answer"),
        ("run.invoke", "--caller", "validator-fmu", "--status", "503", "--times", "2"),
        ("run.invoke", "--caller", "validator-fmu", "--lose-answer"),
        ("deliver", "--lose-answer"),
        ("storage.objects.insert", "--caller", "worker", "--reset"),
    ],
    ids=" ".join,
)
def test_run_passes_once_whatever_is_lost(stack: Stack, fault: tuple[str, ...]) -> None:
    number = add(stack, *fault)

    run = stack.run(FMU, stack.sample(FMU))

    assert (run["state"], run["result"]) == ("COMPLETED", "PASS")
    assert stack.events(str(run["id"])).count("passed") == 1
    struck = json.loads(stack.devenv("journal", "--json", "-n", "500").stdout)
    assert number in [call["fault"] for call in struck]


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
