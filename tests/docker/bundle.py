"""Validator containers for an attempt in a local folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.types import Mount

from tests import guardian
from validators.sdk.manifest import ValidatorManifest
from validators.sdk.testing import write_envelope

HARDENED: Mapping[str, Any] = {
    "network_mode": "none",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": 128,
    "mem_limit": "2g",
}
# Docker's own default is noexec; the native code of an FMU is unpacked there.
EXECUTABLE_TMP = {"/tmp": "size=512m,mode=1777,exec,nosuid,nodev"}


@dataclass(frozen=True)
class EndedBundle:
    code: int
    log: str
    output: dict[str, Any]


def run(
    engine: DockerClient,
    manifest: ValidatorManifest,
    submission: Path,
    folder: Path,
    *,
    image: str | None = None,
    tmpfs: Mapping[str, str] = EXECUTABLE_TMP,
    environment: Mapping[str, str] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> EndedBundle:
    """Run `submission` in a hardened container that sees the attempt's folder and its inputs."""
    envelope = write_envelope(folder, manifest, submission, inputs=inputs)
    folder.chmod(0o777)
    container = engine.containers.create(
        image or manifest.image,
        command=[envelope.as_uri()],
        environment=dict(environment or {}),
        mounts=[_mount(folder), *(_mount(path, read_only=True) for path in _inputs(envelope))],
        tmpfs=dict(tmpfs),
        labels=guardian.labels() | {"io.validibot.test": "images"},
        **HARDENED,
    )
    try:
        container.start()
        code = container.wait(timeout=300)["StatusCode"]
        log = container.logs().decode(errors="replace")
    finally:
        container.remove(force=True, v=True)
    stored = folder / "output.json"
    return EndedBundle(code, log, json.loads(stored.read_bytes()) if stored.exists() else {})


def _inputs(envelope: Path) -> list[Path]:
    question = json.loads(envelope.read_bytes())
    items = [*question["input_files"], *question["resource_files"]]
    return [Path(item["uri"].removeprefix("file://")) for item in items]


def _mount(path: Path, *, read_only: bool = False) -> Mount:
    """Mount at the same path as outside, so that the envelope's URIs are valid in both places."""
    return Mount(str(path), str(path), type="bind", read_only=read_only)
