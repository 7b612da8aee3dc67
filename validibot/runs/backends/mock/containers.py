"""Mocked containers and validators: threads in which scenarios take time, and what validators write.

A mocked validator reads its envelope, writes artifacts and output and calls back as a real one does.
Only the validation itself is replaced by a recording.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.validations.envelopes import (
    InputFileItem,
    ValidationInputEnvelope,
    ValidationStatus,
)

from validibot.core.envelopes import language_of
from validibot.core.storage import get_storage
from validibot.runs.backends.base import ExecutionState, LaunchRequest, Phase
from validibot.runs.backends.mock.recordings import AnswerRequest, RecordedArtifact, Recording

# MockContainers that are remembered.
KEPT = 1000
_ENVELOPE_BYTES = 4 * 1024 * 1024

logger = logging.getLogger(__name__)


class Simulator(Protocol):
    """Effects of scenarios on a run, besides the end of an execution."""

    def scenario(self, attempt_id: UUID) -> str:
        """Return the scenario that the attempt's run or step asks for, or an empty string."""

    def call_back(self, body: bytes) -> None:
        """Deliver a callback as a validator would post it."""

    def time_out(self, attempt_id: UUID) -> None:
        """Time the attempt out."""

    def cancel(self, run_id: UUID) -> None:
        """Cancel the run, as its user would."""


type Wait = Callable[[threading.Event, float], bool]


def wait(stopped: threading.Event, seconds: float) -> bool:
    """Wait; return whether the container was stopped meanwhile."""
    return stopped.wait(seconds)


class MockContainer:
    """Execution that runs until it ends by itself or is stopped."""

    def __init__(self, request: LaunchRequest, simulator: Simulator) -> None:
        self.request = request
        self.simulator = simulator
        self.name = f"mock-{request.attempt_id}"
        self.state = ExecutionState(phase=Phase.RUNNING, execution=self.name)
        self.stopped = threading.Event()
        self.called_back = threading.Event()
        self.thread: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        return self.state.phase is Phase.RUNNING

    def end(self, phase: Phase, message: str = "", *, out_of_memory: bool = False) -> None:
        self.state = ExecutionState(
            phase=phase, execution=self.name, message=message, out_of_memory=out_of_memory
        )

    def stop(self) -> bool:
        """Stop the container; return whether it was running."""
        if not self.runs:
            return False
        self.end(Phase.CANCELED, "The mocked container was cancelled.")
        self.stopped.set()
        return True

    def start(self, play: Callable[[], None]) -> None:
        """Run `play` in a thread of its own."""
        self.thread = threading.Thread(target=self._play, args=(play,), name=self.name, daemon=True)
        self.thread.start()

    def _play(self, play: Callable[[], None]) -> None:
        try:
            play()
        except Exception:
            logger.exception("%s failed", self.name)
            self.end(Phase.FAILED, "The mocked container failed; see its log.")
            self.request.on_end(self.state)
        finally:
            self.called_back.set()
            connection.close()


class MockContainers:
    """Containers of this process; those of other processes are unknown here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, MockContainer] = {}

    def add(self, container: MockContainer) -> None:
        with self._lock:
            self._found[container.name] = container
            while len(self._found) > KEPT:
                del self._found[next(iter(self._found))]

    def get(self, name: str) -> MockContainer | None:
        return self._found.get(name)

    def find(self, *, job: str, input_uri: str) -> MockContainer | None:
        with self._lock:
            found = list(self._found.values())
        asked = (job, input_uri)
        return next((c for c in found if (c.request.job, c.request.input_uri) == asked), None)

    def join(self, timeout: float) -> bool:
        """Wait until every thread has ended, at most `timeout` seconds; return whether all have."""
        deadline = time.monotonic() + timeout
        with self._lock:
            threads = [each.thread for each in self._found.values() if each.thread]
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


containers = MockContainers()


class MockValidator:
    """Validator that writes recorded answers. Every method may raise StorageError."""

    def __init__(self, input_uri: str, post: Callable[[bytes], None]) -> None:
        content = get_storage(input_uri).read(input_uri, limit=_ENVELOPE_BYTES)
        base = ValidationInputEnvelope.model_validate_json(content)
        self.language = language_of(base.validator.type)
        self.envelope = self.language.input_class.model_validate_json(content)
        self.post = post

    @property
    def file(self) -> InputFileItem | None:
        return next(iter(self.envelope.input_files), None)

    @property
    def request(self) -> AnswerRequest:
        return AnswerRequest(
            type=self.envelope.validator.type.value,
            sha256=self.file.sha256 if self.file else "",
            inputs=self.envelope.model_dump(mode="json")["inputs"],
        )

    def answer(self, answer: Recording, **changes: Any) -> None:
        """Store artifacts and output envelope, with `changes` to make it wrong."""
        context = self.envelope.context
        output = {
            "run_id": self.envelope.run_id,
            "step_run_id": context.step_run_id,
            "execution_attempt_id": context.execution_attempt_id,
            "attempt_contract_version": context.attempt_contract_version,
            "input_envelope_sha256": sha256_hex_for_model(self.envelope),
            "output_uri": self.output_uri,
            "validator": self.envelope.validator,
            "status": answer.status,
            "timing": {},
            "messages": answer.messages,
            "metrics": answer.metrics,
            "outputs": answer.outputs,
            "artifacts": [self._store(artifact) for artifact in answer.artifacts],
        }
        envelope = self.language.output_class.model_validate(output | changes)
        self.write(envelope.model_dump_json(indent=2, exclude_none=True).encode())

    def write(self, content: bytes) -> None:
        """Store `content` as the output."""
        storage = get_storage(self.output_uri)
        storage.create(self.output_uri, content, mime_type="application/json")

    def write_too_much(self) -> None:
        self.write(b" " * (settings.MAX_ENVELOPE_BYTES + 1))

    def call_back(self, **changes: Any) -> None:
        """Post the callback, with `changes` to make it wrong."""
        context = self.envelope.context
        message = {
            "run_id": self.envelope.run_id,
            "callback_id": context.callback_id,
            "callback_nonce": context.callback_nonce,
            "status": ValidationStatus.SUCCESS.value,
            "result_uri": self.output_uri,
        }
        self.post(json.dumps(message | changes).encode())

    @cached_property
    def output_uri(self) -> str:
        return self.envelope.context.expected_output_uri

    def _store(self, artifact: RecordedArtifact) -> dict[str, Any]:
        uri = f"{self.envelope.context.execution_bundle_uri}/outputs/{artifact.name}"
        stored = get_storage(uri).create(uri, artifact.content, mime_type=artifact.mime_type)
        return {
            "name": artifact.name,
            "type": artifact.type,
            "mime_type": artifact.mime_type,
            "uri": uri,
            "size_bytes": stored.size_bytes,
            "sha256": hashlib.sha256(artifact.content).hexdigest(),
            "storage_version": stored.version,
        }
