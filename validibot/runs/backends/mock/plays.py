"""Scenarios as functions of a mocked validator; `validibot.workflows.scenarios` describes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from validibot.runs.backends.base import Phase
from validibot.runs.backends.mock.containers import MockContainer, MockValidator, Wait
from validibot.runs.backends.mock.recordings import Recording, failing, passing

_FORGED = "forged-" * 7


@dataclass(frozen=True, slots=True)
class Actor:
    """Mocked validator in its container, with the number of its scenario.

    `success` is its answer when nothing goes wrong.
    """

    container: MockContainer
    validator: MockValidator
    number: float
    success: Recording
    wait: Wait

    def sleep(self) -> bool:
        """Wait for the scenario's seconds; return False if the container was stopped meanwhile."""
        return not self.wait(self.container.stopped, self.number)

    def succeed(self) -> None:
        self.validator.answer(self.success)
        self.validator.call_back()
        self.end(Phase.SUCCEEDED)

    def end(self, phase: Phase, message: str = "", *, out_of_memory: bool = False) -> None:
        """End the container, unless it was stopped before."""
        if self.container.runs:
            self.container.end(phase, message, out_of_memory=out_of_memory)

    def die(self, message: str, *, out_of_memory: bool = False) -> None:
        """End the container and report it as a provider does."""
        self.end(Phase.FAILED, message, out_of_memory=out_of_memory)
        self.container.request.on_end(self.container.state)

    def time_out(self) -> None:
        self.container.simulator.time_out(self.container.request.attempt_id)


type Play = Callable[[Actor], None]


def fail(actor: Actor) -> None:
    actor.validator.answer(failing(actor.validator.request, errors=int(actor.number)))
    actor.validator.call_back(status="failed_validation")
    actor.end(Phase.SUCCEEDED)


def warnings(actor: Actor) -> None:
    actor.validator.answer(passing(actor.validator.request, warnings=int(actor.number)))
    actor.validator.call_back()
    actor.end(Phase.SUCCEEDED)


def slow(actor: Actor) -> None:
    if actor.sleep():
        actor.succeed()


def crash(actor: Actor) -> None:
    actor.die("Its process crashed with exit code 139 (SIGSEGV).")


def out_of_memory(actor: Actor) -> None:
    limit = actor.container.request.memory_mb
    actor.die(f"It took more memory than its {limit} MiB.", out_of_memory=True)


def timeout(actor: Actor) -> None:
    if actor.sleep():
        actor.time_out()


def never_calls_back(actor: Actor) -> None:
    actor.end(Phase.SUCCEEDED)
    if actor.sleep():
        actor.time_out()


def calls_back_twice(actor: Actor) -> None:
    actor.succeed()
    actor.validator.call_back()


def late(actor: Actor) -> None:
    if actor.sleep():
        actor.time_out()
    actor.succeed()


def before_launch_returns(actor: Actor) -> None:
    actor.succeed()


def forged_nonce(actor: Actor) -> None:
    actor.validator.call_back(callback_nonce=_FORGED)
    actor.succeed()


def wrong_run(actor: Actor) -> None:
    other = str(uuid4())
    actor.validator.answer(actor.success, run_id=other)
    actor.validator.call_back(run_id=other)
    actor.end(Phase.SUCCEEDED)
    actor.container.request.on_end(actor.container.state)


def malformed_output(actor: Actor) -> None:
    actor.validator.write(b'{"schema_version": "validibot.output.v1", "status": "great"}')
    actor.validator.call_back()
    actor.end(Phase.SUCCEEDED)


def oversized_output(actor: Actor) -> None:
    actor.validator.write_too_much()
    actor.validator.call_back()
    actor.end(Phase.SUCCEEDED)


def cancelled(actor: Actor) -> None:
    if actor.sleep():
        actor.container.simulator.cancel(actor.container.request.run_id)


PLAYS: Mapping[str, Play] = {
    "pass": Actor.succeed,
    "fail": fail,
    "warnings": warnings,
    "slow": slow,
    "crash": crash,
    "out_of_memory": out_of_memory,
    "timeout": timeout,
    "never_calls_back": never_calls_back,
    "calls_back_twice": calls_back_twice,
    "late": late,
    "before_launch_returns": before_launch_returns,
    "forged_nonce": forged_nonce,
    "wrong_run": wrong_run,
    "malformed_output": malformed_output,
    "oversized_output": oversized_output,
    "cancelled": cancelled,
}
# Scenarios without a thread: they end, and call back, during the launch.
AT_ONCE = frozenset(
    {"pass", "fail", "warnings", "forged_nonce", "malformed_output", "oversized_output"}
)
