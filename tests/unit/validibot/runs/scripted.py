"""A provider of executions that does what a test says, and the validator that it pretends to run."""

from typing import Any, ClassVar

from pydantic import ConfigDict
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.fmu.envelopes import FMUInputEnvelope, FMUOutputEnvelope
from validibot_shared.validations.envelopes import ValidationCallback

from validibot.core.storage import get_storage
from validibot.runs.backends.base import (
    BackendOptions,
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)
from validibot.runs.callback import CallbackReply, handle


class ScriptedProvider:
    """Script and record of the scripted backend."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.requests: list[LaunchRequest] = []
        self.cancelled: list[str] = []
        self.refusal: LaunchError | None = None
        self.phase = Phase.RUNNING
        self.found = Phase.ABSENT
        self.message = ""
        self.secrets: dict[str, str] = {}
        self.unavailable = False

    @property
    def state(self) -> ExecutionState:
        return ExecutionState(
            phase=self.phase,
            execution="execution-1",
            image_digest="sha256:1",
            message=self.message,
        )


class ScriptedOptions(BackendOptions):
    """OPTIONS of the scripted backend."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    provider: ScriptedProvider


class ScriptedBackend(ExecutionBackend):
    """Behaves like a cloud: launches return before anything is done."""

    options_class: ClassVar[type[BackendOptions]] = ScriptedOptions
    options: ScriptedOptions
    runs_images = True

    @property
    def provider(self) -> ScriptedProvider:
        return self.options.provider

    def launch(self, request: LaunchRequest) -> Launch:
        self.provider.requests.append(request)
        if self.provider.refusal:
            raise self.provider.refusal
        return Launch(execution="execution-1", secrets=self.provider.secrets)

    def state(self, execution: str) -> ExecutionState:
        if self.provider.unavailable:
            raise StateUnavailable("nobody answers")
        return self.provider.state

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        return ExecutionState(
            phase=self.provider.found, execution="execution-1", image_digest="sha256:1"
        )

    def cancel(self, execution: str) -> bool:
        self.provider.cancelled.append(execution)
        return True


def read_input(request: LaunchRequest) -> FMUInputEnvelope:
    content = get_storage(request.input_uri).read(request.input_uri, limit=1_000_000)
    return FMUInputEnvelope.model_validate_json(content)


def output_of(request: LaunchRequest, **changes: Any) -> FMUOutputEnvelope:
    """Return the envelope with which the validator answers."""
    envelope = read_input(request)
    context = envelope.context
    answer: dict[str, Any] = {
        "run_id": envelope.run_id,
        "step_run_id": context.step_run_id,
        "execution_attempt_id": context.execution_attempt_id,
        "attempt_contract_version": context.attempt_contract_version,
        "input_envelope_sha256": sha256_hex_for_model(envelope),
        "output_uri": context.expected_output_uri,
        "validator": envelope.validator,
        "status": "success",
        "timing": {},
        "outputs": {
            "output_values": {"y": 2.0},
            "execution_seconds": 0.5,
            "simulation_time_reached": 10.0,
        },
    }
    return FMUOutputEnvelope.model_validate(answer | changes)


def store_output(request: LaunchRequest, content: bytes | None = None, **changes: Any) -> None:
    """Write what the validator leaves at the place of its output."""
    if content is None:
        content = output_of(request, **changes).model_dump_json(exclude_none=True).encode()
    storage = get_storage(request.output_uri)
    storage.create(request.output_uri, content, mime_type="application/json")


def callback_of(request: LaunchRequest, **changes: Any) -> ValidationCallback:
    """Return what the validator posts."""
    envelope = read_input(request)
    message = {
        "run_id": envelope.run_id,
        "callback_id": envelope.context.callback_id,
        "callback_nonce": envelope.context.callback_nonce,
        "status": "success",
        "result_uri": envelope.context.expected_output_uri,
    }
    return ValidationCallback.model_validate(message | changes)


def post(request: LaunchRequest, **changes: Any) -> CallbackReply:
    """Post what the validator posts, with `changes`."""
    return handle(callback_of(request, **changes).model_dump_json().encode())
