"""`devenv trace` in the emulated mode: the events of a run, and replay of its callback."""

import json
import re

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

FMU = "fmu-decay"


@pytest.fixture(scope="module")
def run(stack: Stack) -> str:
    """A run that has passed, and whose execution has ended, which happens some time after its callback."""
    run = str(stack.run(FMU, stack.sample(FMU))["id"])
    stack.until(lambda: "Execution completed" in stack.devenv("trace", run).stdout)
    return run


def test_trace_shows_events_and_execution(stack: Stack, run: str) -> None:
    done = stack.devenv("trace", run)

    assert done.returncode == 0, done.stderr
    assert re.search(r"\+0\.000 s .*created", done.stdout)
    assert re.search(r"Execution +validibot-validator-fmu-[a-z0-9]{5}\n", done.stdout)
    assert "Execution completed successfully" in done.stdout


def test_trace_as_json(stack: Stack, run: str) -> None:
    told = json.loads(stack.devenv("trace", run, "--json").stdout)

    assert [event["kind"] for event in told["events"]] == stack.events(run)
    assert told["executions"][0]["state"] == "CONDITION_SUCCEEDED"


def test_replay_posts_callback_of_run(stack: Stack, run: str) -> None:
    done = stack.devenv("trace", "--replay", run, "--json")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["status"]) == (0, 200), done.stderr
    assert answer["answer"]["idempotent_replayed"] is True


def test_replay_posts_callback_from_file(stack: Stack, run: str) -> None:
    body = json.dumps({"run_id": run, "callback_id": "nobody's"})
    file = stack.root / "callback.json"
    file.write_text(
        json.dumps({"path": "/internal/callbacks/", "caller": "validator-fmu", "body": body})
    )

    done = stack.devenv("trace", "--replay", str(file), "--json")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["status"]) == (1, 400)
    assert answer["answer"]["detail"].startswith("Invalid callback")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("no-uuid",), 2, "is not a valid UUID"),
        (("00000000-0000-4000-8000-000000000000",), 1, "The API answers 404 about the run"),
        (("--replay", "00000000-0000-4000-8000-000000000000"), 1, "No container was launched"),
        (("--replay", "devenv.toml"), 1, "devenv.toml is not JSON"),
    ],
)
def test_trace_of_unknown_run_or_file_is_an_error(
    stack: Stack, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = stack.devenv("trace", *arguments)

    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
