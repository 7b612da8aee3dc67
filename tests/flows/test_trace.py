"""`manage.py trace_run` and `devenv replay` in the emulated mode: a run, and its callback again."""

import json

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

FMU = "fmu-decay"


@pytest.fixture(scope="module")
def run(stack: Stack) -> str:
    return str(stack.run(FMU, stack.sample(FMU))["id"])


def test_trace_shows_events_of_run(stack: Stack, run: str) -> None:
    done = stack.devenv("run", "--", "python", "manage.py", "trace_run", run, "--json")

    assert done.returncode == 0, done.stderr
    assert [event["kind"] for event in json.loads(done.stdout)] == stack.events(run)


def test_replay_posts_callback_of_run(stack: Stack, run: str) -> None:
    file = stack.root / "callback.json"
    command = ("python", "manage.py", "trace_run", run, "--callback", str(file))
    assert stack.devenv("run", "--", *command).returncode == 0

    assert f"devenv replay {file} --service NAME" in stack.devenv("replay", str(file)).stderr
    account = ("--as", "validator-fmu")
    done = stack.devenv("replay", str(file), "--service", "worker", *account, "--json")

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["status"]) == (0, 200), done.stderr
    assert answer["answer"]["idempotent_replayed"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("trace", "no-uuid"), 2, "is not a valid UUID"),
        (("trace", "00000000-0000-4000-8000-000000000000"), 1, "No call has the trace"),
        (("replay", "nothing"), 1, "nothing is not a file, and no request with this key"),
        (("replay", "devenv.toml"), 1, "devenv.toml is not JSON"),
    ],
)
def test_trace_of_unknown_run_or_file_is_an_error(
    stack: Stack, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = stack.devenv(*arguments)

    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
