"""Validators that run nothing: they answer at once, always the same.

A submission whose file name contains "fail" or "crash" fails, any other passes. The answer is a
real output envelope, written where a validator would write it, and the callback is handed over to
be processed like any other: everything but the validator itself is the real thing.
"""

from collections.abc import Mapping
from typing import Any

from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.validations.envelopes import (
    ValidationCallback,
    ValidationInputEnvelope,
    ValidationOutputEnvelope,
    ValidationStatus,
    ValidatorType,
)

from validibot.core.envelopes import language_of
from validibot.core.storage import StorageError, get_storage
from validibot.runs.backends.base import ExecutionBackend, Launch, LaunchError, LaunchRequest

_FAILING = ("fail", "crash")
_ENVELOPE_BYTES = 4 * 1024 * 1024

# About what the seeded workflows' samples come to, so that they pass.
_ENERGYPLUS = {
    "energyplus_returncode": 0,
    "execution_seconds": 0.1,
    "invocation_mode": "cli",
    "completed_successfully": True,
    "metrics": {
        "site_electricity_kwh": 12_000.0,
        "site_eui_kwh_m2": 100.0,
        "heating_energy_kwh": 3_000.0,
        "cooling_energy_kwh": 2_000.0,
        "unmet_heating_hours": 0.0,
        "unmet_cooling_hours": 0.0,
        "simulated_conditioned_area_m2": 120.0,
    },
}
_ENERGYPLUS_FAILED = {
    "energyplus_returncode": 1,
    "execution_seconds": 0.1,
    "invocation_mode": "cli",
    "severe_count": 1,
}
_FMU = {
    "output_values": {"level": 0.1353},
    "execution_seconds": 0.1,
    "simulation_time_reached": 2.0,
}
_PASSING: Mapping[str, Any] = {ValidatorType.ENERGYPLUS: _ENERGYPLUS, ValidatorType.FMU: _FMU}
_FAILED: Mapping[str, Any] = {ValidatorType.ENERGYPLUS: _ENERGYPLUS_FAILED}


class MockBackend(ExecutionBackend):
    """OPTIONS: `outputs`, by validator type what a passing validator puts out instead."""

    local = True
    posts_callbacks = False

    def launch(self, request: LaunchRequest) -> Launch:
        try:
            envelope = _read(request.input_uri)
            output = self._answer(envelope)
            content = output.model_dump_json(indent=2, exclude_none=True).encode()
            get_storage(request.output_uri).create(
                request.output_uri, content, mime_type="application/json"
            )
        except StorageError as error:
            raise LaunchError(str(error)) from error
        message = _callback(envelope, output).model_dump_json().encode()
        return Launch(execution=f"mock-{request.attempt_id}", callbacks=(message,))

    def _answer(self, envelope: ValidationInputEnvelope) -> ValidationOutputEnvelope:
        kind = envelope.validator.type
        name = envelope.input_files[0].name.lower() if envelope.input_files else ""
        failing = any(mark in name for mark in _FAILING)
        passing = self.options.get("outputs", {}).get(kind.value, _PASSING.get(kind))
        message = {
            "severity": "ERROR",
            "code": "MOCK_FAILURE",
            "text": f"{name} fails, as its name says.",
            "location": {"line": 1, "column": 1, "path": "mock"},
        }
        context = envelope.context
        return language_of(kind).output_class.model_validate(
            {
                "run_id": envelope.run_id,
                "step_run_id": context.step_run_id,
                "execution_attempt_id": context.execution_attempt_id,
                "attempt_contract_version": context.attempt_contract_version,
                "input_envelope_sha256": sha256_hex_for_model(envelope),
                "output_uri": context.expected_output_uri,
                "validator": envelope.validator,
                "status": (
                    ValidationStatus.FAILED_VALIDATION if failing else ValidationStatus.SUCCESS
                ),
                "timing": {},
                "messages": [message] if failing else [],
                "outputs": _FAILED.get(kind) if failing else passing,
            }
        )


def _read(uri: str) -> ValidationInputEnvelope:
    content = get_storage(uri).read(uri, limit=_ENVELOPE_BYTES)
    base = ValidationInputEnvelope.model_validate_json(content)
    return language_of(base.validator.type).input_class.model_validate_json(content)


def _callback(
    envelope: ValidationInputEnvelope, output: ValidationOutputEnvelope
) -> ValidationCallback:
    return ValidationCallback.model_validate(
        {
            "run_id": envelope.run_id,
            "callback_id": envelope.context.callback_id,
            "callback_nonce": envelope.context.callback_nonce,
            "status": output.status,
            "result_uri": output.output_uri,
        }
    )
