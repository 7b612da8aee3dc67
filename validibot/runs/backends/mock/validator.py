"""The hands of a mocked validator: it reads its envelope, stores what it found, calls back."""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.conf import settings
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.validations.envelopes import (
    InputFileItem,
    ValidationInputEnvelope,
    ValidationStatus,
)

from validibot.core.envelopes import language_of
from validibot.core.storage import get_storage
from validibot.runs.backends.mock.answers import Question
from validibot.runs.backends.mock.recordings import Artifact, Recording

_ENVELOPE_BYTES = 4 * 1024 * 1024


class Validator:
    """Knows of its attempt what its envelope says, the nonce among it. All may raise StorageError."""

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
    def question(self) -> Question:
        return Question(
            type=self.envelope.validator.type.value,
            sha256=self.file.sha256 if self.file else "",
            inputs=self.envelope.model_dump(mode="json")["inputs"],
        )

    def answer(self, answer: Recording, **changes: Any) -> None:
        """Store artifacts and output envelope; `changes` make it say something wrong."""
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
            "outputs": answer.outputs,
            "artifacts": [self._store(artifact) for artifact in answer.artifacts],
        }
        envelope = self.language.output_class.model_validate(output | changes)
        self.write(envelope.model_dump_json(indent=2, exclude_none=True).encode())

    def write(self, content: bytes) -> None:
        """Store the output, whatever it is."""
        storage = get_storage(self.output_uri)
        storage.create(self.output_uri, content, mime_type="application/json")

    def write_too_much(self) -> None:
        self.write(b" " * (settings.MAX_ENVELOPE_BYTES + 1))

    def call_back(self, **changes: Any) -> None:
        """Post the callback; `changes` make it a wrong one."""
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

    def _store(self, artifact: Artifact) -> dict[str, Any]:
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
