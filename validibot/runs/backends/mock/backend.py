"""The backend: chooses a scenario, raises the curtain, and knows of its containers what they do."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from validibot.core.storage import StorageError
from validibot.runs.backends.base import (
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
)
from validibot.runs.backends.mock import containers as stage
from validibot.runs.backends.mock.answers import passing
from validibot.runs.backends.mock.choice import choose, unasked
from validibot.runs.backends.mock.containers import Container, Simulator, containers
from validibot.runs.backends.mock.plays import AT_ONCE, PLAYS, Actor
from validibot.runs.backends.mock.recordings import Recording
from validibot.runs.backends.mock.validator import Validator
from validibot.workflows.scenarios import Scenario, ScenarioError

_FIRST_WORD_SECONDS = 30
SIMULATOR = "validibot.runs.simulation.RunSimulator"


class MockBackend(ExecutionBackend):
    """OPTIONS: `scenario`, played where nothing else is asked for; `outputs`, by validator type what
    a passing validator puts out instead; `wait`, how time passes; `simulator`, the dotted path of a
    `Simulator`, through which scenarios act on runs."""

    local = True
    posts_callbacks = False
    plays_scenarios = True

    def launch(self, request: LaunchRequest) -> Launch:
        container = Container(request, self._simulator())
        containers.add(container)
        try:
            return self._perform(container)
        except (ScenarioError, StorageError) as error:
            container.end(Phase.FAILED, str(error))
            permanent = isinstance(error, ScenarioError)
            raise LaunchError(str(error), permanent=permanent) from error

    def _perform(self, container: Container) -> Launch:
        """Play at once, or begin to. Raises ScenarioError, StorageError."""
        validator = Validator(container.request.input_uri, container.simulator.call_back)
        file = validator.file
        wanted = container.simulator.scenario(container.request.attempt_id)
        asked = choose(wanted, file, self._setting)
        scenario = asked or unasked(validator.question, file.name if file else "")
        play = partial(self._play, container, validator, scenario)
        if scenario.kind.name in AT_ONCE:
            play()
        else:
            container.start(play)
        if scenario.kind.name == "before_launch_returns":
            container.spoke.wait(_FIRST_WORD_SECONDS)
        return Launch(execution=container.name)

    def state(self, execution: str) -> ExecutionState:
        container = containers.get(execution)
        if container is None:
            return ExecutionState(phase=Phase.UNKNOWN, execution=execution)
        return container.state

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        container = containers.find(job=job, input_uri=input_uri)
        return container.state if container else ExecutionState(phase=Phase.UNKNOWN)

    def cancel(self, execution: str) -> bool:
        container = containers.get(execution)
        return container is not None and container.stop()

    def check(self) -> Sequence[CheckMessage]:
        try:
            choose("", None, self._setting)
        except ScenarioError as error:
            where = f"EXECUTION_BACKENDS[{self.alias!r}]"
            return [Error(f"{where}: {error}", id="validibot.runs.E004")]
        return []

    def _simulator(self) -> Simulator:
        simulator: Simulator = import_string(self.options.get("simulator", SIMULATOR))()
        return simulator

    @property
    def _setting(self) -> str:
        return str(self.options.get("scenario", ""))

    def _play(self, container: Container, validator: Validator, scenario: Scenario) -> None:
        actor = Actor(
            container=container,
            validator=validator,
            number=scenario.number,
            success=self._success(validator),
            wait=self.options.get("wait", stage.wait),
        )
        PLAYS[scenario.kind.name](actor)

    def _success(self, validator: Validator) -> Recording:
        answer = passing(validator.question)
        given: Any = self.options.get("outputs", {}).get(validator.question.type)
        return replace(answer, outputs=given) if given else answer
