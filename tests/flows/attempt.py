"""A running attempt for which the test answers in place of the validator."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusOutputEnvelope,
)

from tests.flows.foreign import ACCOUNT, IDLE, launch
from tests.flows.identity import BUCKET, WORKER, FlowIdentity
from tests.flows.stack import Stack

CALLBACKS = f"{WORKER}/internal/callbacks/"


@dataclass(frozen=True)
class FlowAttempt:
    """A run whose container never answers."""

    stack: Stack
    run: str

    @classmethod
    def launch(cls, stack: Stack) -> "FlowAttempt":
        run = launch(stack, IDLE)
        stack.until(lambda: "running" in stack.events(run))
        return cls(stack, run)

    @cached_property
    def identity(self) -> FlowIdentity:
        return FlowIdentity(self.stack, ACCOUNT)

    @cached_property
    def files(self) -> FlowIdentity:
        """Return the identity that may read and write files, which the container's account may not."""
        return FlowIdentity(self.stack, "worker")

    @cached_property
    def envelope(self) -> EnergyPlusInputEnvelope:
        """Return the container's input envelope."""
        listed = self.files.get(
            f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/o", prefix="runs/"
        ).json()["items"]
        (name,) = [
            item["name"]
            for item in listed
            if self.run in item["name"] and item["name"].endswith("/input.json")
        ]
        content = self.files.read(f"gs://{BUCKET}/{name}")
        return EnergyPlusInputEnvelope.model_validate_json(content)

    @property
    def output_uri(self) -> str:
        return str(self.envelope.context.expected_output_uri)

    def callback(self, **changes: Any) -> dict[str, Any]:
        context = self.envelope.context
        return {
            "run_id": self.run,
            "callback_id": context.callback_id,
            "callback_nonce": context.callback_nonce,
            "status": "success",
            "result_uri": self.output_uri,
        } | changes

    def output(self, **changes: Any) -> bytes:
        """Return an output that fails with one finding, with `changes` applied."""
        envelope, context = self.envelope, self.envelope.context
        values = {
            "run_id": self.run,
            "step_run_id": context.step_run_id,
            "execution_attempt_id": context.execution_attempt_id,
            "attempt_contract_version": context.attempt_contract_version,
            "input_envelope_sha256": sha256_hex_for_model(envelope),
            "output_uri": self.output_uri,
            "validator": envelope.validator.model_dump(mode="json"),
            "status": "failed_validation",
            "timing": {},
            "messages": [{"severity": "ERROR", "text": "The roof leaks."}],
            "outputs": {
                "energyplus_returncode": 1,
                "execution_seconds": 0.1,
                "invocation_mode": "cli",
            },
        }
        return EnergyPlusOutputEnvelope.model_validate(values | changes).model_dump_json().encode()

    def store(self, content: bytes) -> None:
        self.files.write(self.output_uri, content)

    def call_back(self, **changes: Any) -> httpx.Response:
        """Post the callback as the container's account."""
        return self.post(json=self.callback(**changes))

    def post(
        self, *, token: str | None = None, url: str = CALLBACKS, **body: Any
    ) -> httpx.Response:
        token = self.identity.id_token() if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.identity.request("POST", url, headers=headers, **body)
