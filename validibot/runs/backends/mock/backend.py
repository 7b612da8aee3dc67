"""Execution backend that runs nothing: its validators answer from recordings or play a scenario.

The scenario is the first that is asked for: by the run or its step, by a marker in the submitted
text, by the file name (`model.fail-3.idf` asks for fail(3)), by the setting. Otherwise a recorded
file ends as it did when it was recorded, and of other files those fail that have "fail" or "crash" in
their name.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from threading import Event
from typing import Any, ClassVar

from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string
from validibot_shared.validations.envelopes import InputFileItem, ValidationStatus

from validibot.core.storage import StorageError, get_storage
from validibot.runs.backends.base import (
    BackendOptions,
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
)
from validibot.runs.backends.mock import containers as mocked
from validibot.runs.backends.mock.containers import (
    MockContainer,
    MockValidator,
    Simulator,
    containers,
)
from validibot.runs.backends.mock.plays import AT_ONCE, PLAYS, Actor
from validibot.runs.backends.mock.recordings import AnswerRequest, Recording, known, passing
from validibot.workflows.scenarios import CATALOGUE, Scenario, ScenarioError, parse

# A marker is searched for in so many bytes of a file.
MARKER_BYTES = 64 * 1024
SETTING = "MOCK_SCENARIO"
_MARKER = re.compile(rb"validibot:scenario=([a-z_]+(?:\([^)\s]{0,20}\))?)")
_PART = re.compile(r"([a-z_]+)(?:-([0-9]+))?")
_PARTS = 20
_FAILING = ("fail", "crash")
_FIRST_CALLBACK_SECONDS = 30
SIMULATOR = "validibot.runs.simulation.RunSimulator"


class MockOptions(BackendOptions):
    """OPTIONS of the mock backend.

    `scenario` is played if no other is asked for. `outputs` replaces the outputs of a passing
    validator, by type. `simulator` is the dotted path of a `Simulator`, through which scenarios act
    on runs. `wait` replaces waiting in tests.
    """

    scenario: str = ""
    outputs: dict[str, dict[str, Any]] = {}
    simulator: str = SIMULATOR
    wait: Callable[[Event, float], bool] = mocked.wait


class MockBackend(ExecutionBackend):
    """Execution backend with recorded answers and scripted scenarios."""

    options_class: ClassVar[type[BackendOptions]] = MockOptions
    options: MockOptions
    local = True
    runs_images = True
    posts_callbacks = False
    plays_scenarios = True

    def launch(self, request: LaunchRequest) -> Launch:
        container = MockContainer(request, self._simulator())
        containers.add(container)
        not_accepted = True
        try:
            validator = MockValidator(request.input_uri, container.simulator.call_back)
            scenario = self._scenario(container, validator)
            not_accepted = False  # from here on the validator may have written its output
            play = partial(self._play, container, validator, scenario)
            if scenario.kind.name in AT_ONCE:
                play()
            else:
                container.start(play)
        except ScenarioError as error:
            container.end(Phase.FAILED, str(error))
            raise LaunchError(str(error), permanent=True) from error
        except StorageError as error:
            container.end(Phase.FAILED, str(error))
            raise LaunchError(str(error), not_accepted=not_accepted) from error
        if scenario.kind.name == "before_launch_returns":
            container.called_back.wait(_FIRST_CALLBACK_SECONDS)
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
            choose("", None, self.options.scenario)
        except ScenarioError as error:
            return [Error(f"{self.where}: {error}", id="validibot.runs.E004")]
        return []

    def _simulator(self) -> Simulator:
        simulator: Simulator = import_string(self.options.simulator)()
        return simulator

    def _scenario(self, container: MockContainer, validator: MockValidator) -> Scenario:
        """Return the scenario to play. Raises ScenarioError, StorageError."""
        file = validator.file
        wanted = container.simulator.scenario(container.request.attempt_id)
        asked = choose(wanted, file, self.options.scenario)
        return asked or default_scenario(validator.request, file.name if file else "")

    def _play(self, container: MockContainer, validator: MockValidator, scenario: Scenario) -> None:
        actor = Actor(
            container=container,
            validator=validator,
            number=scenario.number,
            success=self._success(validator),
            wait=self.options.wait,
        )
        PLAYS[scenario.kind.name](actor)

    def _success(self, validator: MockValidator) -> Recording:
        answer = passing(validator.request)
        given = self.options.outputs.get(validator.request.type)
        return replace(answer, outputs=given) if given else answer


def choose(asked: str, file: InputFileItem | None, setting: str) -> Scenario | None:
    """Return the scenario that is asked for, if any. Raises ScenarioError, StorageError."""
    for field, text in _places(asked, file, setting):
        if text:
            return parse(text, field=field)
    return None


def default_scenario(request: AnswerRequest, filename: str) -> Scenario:
    """Return the scenario of a file for which none is asked."""
    answer = known(request)
    if answer:
        fails = answer.status is not ValidationStatus.SUCCESS
    else:
        fails = any(mark in filename.lower() for mark in _FAILING)
    return parse("fail" if fails else "pass")


def _places(asked: str, file: InputFileItem | None, setting: str) -> Iterator[tuple[str, str]]:
    """Yield the places of a scenario and their text; the file is read only if it must be."""
    yield "scenario", asked
    if file:
        yield "the marker in the file", _marker(file.uri)
        yield "the file name", _in_name(file.name.lower())
    yield SETTING, setting


def _marker(uri: str) -> str:
    head = b""
    for chunk in get_storage(uri).stream(uri):
        head += chunk
        if len(head) >= MARKER_BYTES:
            break
    match = _MARKER.search(head[:MARKER_BYTES])
    return match[1].decode(errors="replace") if match else ""


def _in_name(name: str) -> str:
    for part in islice(PurePosixPath(name).suffixes, _PARTS):
        match = _PART.fullmatch(part[1:])
        if match and match[1] in CATALOGUE:
            return f"{match[1]}({match[2]})" if match[2] else match[1]
    return ""
