"""Stand-in for the published validator containers: `python -m tests.standin.container`.

`STANDIN_KIND` is `energyplus` (or unset) or `fmu`: the published images behave differently.
It answers without simulating; `STANDIN` selects the behaviour:

success, failed_validation, failed_runtime    the status of its answer
explode     an unexpected exception after the envelope was read: exit 1, `failed_runtime` stored
vanish      exit 0 without an output and without a callback
die         killed before anything is stored
silent      the output is stored, exit 0, no callback
hang        never ends
idle        reads nothing and never ends

In every case an unusable envelope is exit 0 without output (EnergyPlus) or exit 1 (others);
a callback that is not answered by 2xx with parseable JSON ends in exit 1 with the output stored;
a second execution repeats the callback of the stored output and computes nothing.
"""

import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as AuthRequest
from google.oauth2.id_token import fetch_id_token
from pydantic import ValidationError
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusOutputEnvelope,
)
from validibot_shared.fmu.envelopes import FMUInputEnvelope, FMUOutputEnvelope
from validibot_shared.validations.envelopes import (
    InputFileItem,
    ResourceFileItem,
    ValidationInputEnvelope,
    ValidationOutputEnvelope,
)

from tests.standin.storage import Conflict, StandinStorage, StorageRefusal

log = logging.getLogger("standin")

_ATTEMPTS = 3
_ENERGYPLUS_FILES = {
    "eplusout.sql": ("simulation-db", b"SQLite format 3\0"),
    "eplusout.err": ("err-log", b"Program Version,EnergyPlus, Version 25.2.0-cf7368216c\n"),
    "eplusout.csv": ("timeseries-csv", b"Date/Time,X\n"),
}


class StandinContainer:
    def __init__(self, environment: Mapping[str, str], arguments: list[str]) -> None:
        self._environment = environment
        self._behaviour = environment.get("STANDIN", "success")
        self._input_uri = environment.get("VALIDIBOT_INPUT_URI") or next(iter(arguments), "")

    def run(self) -> int:
        if self._behaviour == "idle":
            time.sleep(3600)
        try:
            self._storage = StandinStorage(self._environment)
        except StorageRefusal as error:
            log.error("%s", error)  # noqa: TRY400
            return 1
        energyplus = self._environment.get("STANDIN_KIND", "energyplus") == "energyplus"
        model = EnergyPlusInputEnvelope if energyplus else FMUInputEnvelope
        try:
            content = self._storage.read(self._input_uri)
            envelope: ValidationInputEnvelope = model.model_validate_json(content)
        except (OSError, StorageRefusal, ValidationError) as error:
            log.error("no usable envelope: %s", error)  # noqa: TRY400
            return 0 if energyplus else 1
        return _Attempt(envelope, self._storage, self._environment, self._behaviour).run()


class _Attempt:
    def __init__(
        self,
        envelope: ValidationInputEnvelope,
        storage: StandinStorage,
        environment: Mapping[str, str],
        behaviour: str,
    ) -> None:
        self._envelope = envelope
        self._storage = storage
        self._environment = environment
        self._behaviour = behaviour
        self._energyplus = isinstance(envelope, EnergyPlusInputEnvelope)
        self._context = envelope.context

    def run(self) -> int:
        stored = self._stored_output()
        if stored is not None:
            return self._call_back(stored.status.value)
        if self._behaviour == "vanish":
            return 0
        try:
            status, text, code = self._work()
        except StorageRefusal as error:
            # EnergyPlus reports the cause and exits with 0; the others fail without a message.
            words = str(error) if self._energyplus else "The validator failed."
            status, text, code = "failed_runtime", words, 0 if self._energyplus else 1
        except Exception:
            log.exception("unexpected")
            status, text, code = "failed_runtime", "The validator failed.", 1
        self._store(status, text)
        return self._call_back(status) or code

    def _work(self) -> tuple[str, str | None, int]:
        redirected = self._environment.get("VALIDIBOT_OUTPUT_URI")
        if redirected and redirected != self._context.expected_output_uri:
            raise StorageRefusal("VALIDIBOT_OUTPUT_URI cannot redirect the output")
        scratch = self._scratch()
        try:
            self._fetch_inputs(scratch)
            if self._behaviour == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            while self._behaviour == "hang":
                time.sleep(1)
            if self._behaviour == "explode":
                raise RuntimeError("as told")
            if self._behaviour in {"failed_validation", "failed_runtime"}:
                return self._behaviour, "The tool found a problem.", 0
            return "success", None, 0
        finally:
            shutil.rmtree(scratch)

    def _scratch(self) -> Path:
        """Create the folder exclusively: two executions of one attempt on one disk do not mix."""
        root = self._environment.get("VALIDIBOT_ATTEMPT_SCRATCH_ROOT") or tempfile.gettempdir()
        name = hashlib.sha256(self._context.execution_attempt_id.encode()).hexdigest()
        scratch = Path(root, name)
        scratch.mkdir(parents=True)
        return scratch

    def _fetch_inputs(self, scratch: Path) -> None:
        """Choose the files by role and type, as the published containers do."""
        role = "primary-model" if self._energyplus else "fmu"
        files: list[InputFileItem | ResourceFileItem] = [
            item for item in self._envelope.input_files if item.role == role
        ]
        if len(files) != 1:
            raise StorageRefusal(f"one input file with role {role!r} is needed")
        if self._energyplus:
            weather = [r for r in self._envelope.resource_files if r.type == "energyplus_weather"]
            if len(weather) != 1:
                raise StorageRefusal("one resource file of type 'energyplus_weather' is needed")
            files.extend(weather)
        for item in files:
            content = self._storage.read(
                item.uri, version=item.storage_version, size=item.size_bytes
            )
            if hashlib.sha256(content).hexdigest() != item.sha256:
                raise StorageRefusal(f"{item.uri} has another SHA-256 than promised")
            with (scratch / item.name).open("xb") as file:
                file.write(content)

    def _stored_output(self) -> ValidationOutputEnvelope | None:
        try:
            content = self._storage.read(self._context.expected_output_uri)
        except FileNotFoundError:
            return None
        output = self._output_class.model_validate_json(content)
        for name, value in self._identity().items():
            if output.model_dump(mode="json")[name] != value:
                raise StorageRefusal(f"the stored output differs in {name}")
        return output

    @property
    def _output_class(self) -> type[ValidationOutputEnvelope]:
        return EnergyPlusOutputEnvelope if self._energyplus else FMUOutputEnvelope

    def _identity(self) -> dict[str, Any]:
        return {
            "run_id": self._envelope.run_id,
            "step_run_id": self._context.step_run_id,
            "execution_attempt_id": self._context.execution_attempt_id,
            "attempt_contract_version": self._context.attempt_contract_version,
            "input_envelope_sha256": sha256_hex_for_model(self._envelope),
            "output_uri": self._context.expected_output_uri,
            "validator": self._envelope.validator.model_dump(mode="json"),
        }

    def _store(self, status: str, text: str | None) -> None:
        message = {"severity": "ERROR", "code": "STANDIN", "text": text}
        output = {
            **self._identity(),
            "status": status,
            "timing": {},
            "messages": [message] if text else [],
            **self._results(succeeded=status == "success"),
        }
        envelope = self._output_class.model_validate(output)
        content = envelope.model_dump_json(indent=2, exclude_none=True).encode()
        self._storage.create(
            self._context.expected_output_uri, content, mime_type="application/json"
        )

    def _results(self, *, succeeded: bool) -> dict[str, Any]:
        """Return outputs and artifacts; the published FMU container loses its artifacts."""
        if not self._energyplus:
            return {"outputs": _fmu_outputs(self._envelope) if succeeded else None}
        outputs = {
            "energyplus_returncode": 0 if succeeded else 1,
            "execution_seconds": 0.1,
            "invocation_mode": "cli",
            "completed_successfully": succeeded,
            "metrics": {"site_eui_kwh_m2": 120.5} if succeeded else {},
        }
        try:
            artifacts = self._upload() if succeeded else []
        except Conflict:
            raise
        except Exception:
            log.exception("uploads are lost")
            artifacts = []
        return {"outputs": outputs, "artifacts": artifacts}

    def _upload(self) -> list[dict[str, Any]]:
        base = self._context.execution_bundle_uri.rstrip("/") + "/outputs/"
        artifacts = [
            {
                "name": name,
                "type": kind,
                "uri": base + name,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "storage_version": self._storage.create(
                    base + name, content, mime_type="application/octet-stream"
                ),
            }
            for name, (kind, content) in _ENERGYPLUS_FILES.items()
        ]
        manifest = {"format": "directory", "base_uri": base, "files": artifacts}
        self._storage.create(
            base + "manifest.json", json.dumps(manifest).encode(), mime_type="application/json"
        )
        return artifacts

    def _call_back(self, status: str) -> int:
        context = self._context
        if context.skip_callback or context.callback_url is None or self._behaviour == "silent":
            return 0
        body = {
            "run_id": self._envelope.run_id,
            "callback_id": context.callback_id,
            "callback_nonce": context.callback_nonce,
            "status": status,
            "result_uri": context.expected_output_uri,
        }
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(1)
            try:
                response = httpx.post(
                    str(context.callback_url), json=body, headers=self._authorization(), timeout=30
                )
                response.raise_for_status()
            except httpx.HTTPError as error:
                log.warning("callback: %s", error)
                continue
            try:
                response.json()
            except ValueError:
                log.exception("the callback's answer is not JSON")
                return 1
            return 0
        return 1

    def _authorization(self) -> dict[str, str]:
        target = self._environment.get("DEPLOYMENT_TARGET")
        if target == "gcp":
            parts = urlsplit(str(self._context.callback_url))
            origin = f"{parts.scheme}://{parts.netloc}"
            audience = self._environment.get("TASK_OIDC_AUDIENCE") or origin
            try:
                token = fetch_id_token(AuthRequest(), audience)  # type: ignore[no-untyped-call]
            except GoogleAuthError:
                log.exception("no ID token; calling back without one")
                return {}
            return {"Authorization": f"Bearer {token}"}
        key = self._environment.get("WORKER_API_KEY")
        if target in {"local_docker_compose", "test"} or not key:
            return {}
        return {"Authorization": f"Worker-Key {key}"}


def _fmu_outputs(envelope: ValidationInputEnvelope) -> dict[str, Any]:
    if not isinstance(envelope, FMUInputEnvelope):
        return {}
    return {
        "output_values": dict.fromkeys(envelope.inputs.output_variables or ["level"], 1.0),
        "execution_seconds": 0.1,
        "simulation_time_reached": envelope.inputs.simulation.stop_time,
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    environment = dict(os.environ)  # noqa: TID251 - a foreign program
    sys.exit(StandinContainer(environment, sys.argv[1:]).run())
