"""Record the answers of mocked validators from real runs: `python -m tests.recordings`.

A recording has the parts that the product reads: the status, the outputs, and the beginning of the
artifacts that people open. Values that differ from machine to machine are left out.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from devenv.environment import machine
from tests.forked import ForkServer
from validators.sdk.manifest import ValidatorManifest, read_manifest
from validators.sdk.testing import write_envelope

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "validibot/runs/backends/mock/recordings"
_ARTIFACTS = ("eplusout.err", "eplusout.csv", "eplusout.end")
_LINES = 49
_TWO_SECONDS = {"simulation": {"stop_time": 2.0, "step_size": 0.01}}
_OFFICES = "validators/energyplus/samples"
_GALLERY = "validibot/workflows/gallery"
_REVIEW = f"{_GALLERY}/office-model-review"
_DOUBTFUL = """
Schedule:Constant, Unused Schedule, , 1.0;
Material, Unused Brick, Rough, 0.1, 0.9, 1900, 800;
Construction, Unused Wall, Unused Brick;
"""


_programs = ForkServer(
    sys.executable,
    [f"validators.{name}.validate" for name in ("energyplus", "fmu", "schematron", "shacl")],
    {"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
)


@dataclass(frozen=True)
class RecordingSource:
    """A file that is given to a real validator; `more` is added at its end."""

    validator: str
    name: str
    file: str
    inputs: dict[str, Any] = field(default_factory=dict)
    more: str = ""

    @property
    def folder(self) -> Path:
        return TARGET / self.validator / self.name

    def content(self) -> bytes:
        return (ROOT / self.file).read_bytes() + self.more.encode()


def _template(slug: str, validator: str) -> dict[str, Any]:
    """Return the settings of the step of a gallery's workflow that has this validator."""
    steps = yaml.safe_load((ROOT / _GALLERY / slug / "workflow.yaml").read_text())["steps"]
    found: dict[str, Any] = next(s["config"] for s in steps if s["validator"] == validator)
    return found


_INVOICE = _template("invoice-schematron", "schematron")
_GRAPH = _template("equipment-graph", "shacl")
_ROOM = _template("fmu-room", "fmu")

SOURCES = (
    RecordingSource("energyplus", "annual", f"{_OFFICES}/small_office.idf"),
    RecordingSource("energyplus", "design-day", f"{_OFFICES}/small_office_designday.idf"),
    RecordingSource("energyplus", "design-day-epjson", f"{_OFFICES}/small_office.epJSON"),
    RecordingSource(
        "energyplus", "doubtful", f"{_OFFICES}/small_office_designday.idf", more=_DOUBTFUL
    ),
    RecordingSource("energyplus", "failing", f"{_OFFICES}/failing.idf"),
    RecordingSource("energyplus", "review", f"{_REVIEW}/pass.epJSON"),
    RecordingSource("energyplus", "review-wasteful", f"{_REVIEW}/fail.epJSON"),
    RecordingSource("fmu", "decay", "validators/fmu/samples/decay.fmu", _TWO_SECONDS),
    RecordingSource("fmu", "failing", "validators/fmu/samples/failing.fmu", _TWO_SECONDS),
    RecordingSource("fmu", "leaky-room", f"{_GALLERY}/fmu-room/leaky-room.fmu", _ROOM),
    RecordingSource("fmu", "native-crash", "validators/fmu/samples/crashing.fmu", _TWO_SECONDS),
    RecordingSource("fmu", "room", f"{_GALLERY}/fmu-room/room.fmu", _ROOM),
    RecordingSource(
        "schematron", "failing", "validators/schematron/samples/invoice_wrong_date.xml", _INVOICE
    ),
    RecordingSource("schematron", "invoice", f"{_GALLERY}/invoice-schematron/pass.xml", _INVOICE),
    RecordingSource(
        "schematron", "invoice-failing", f"{_GALLERY}/invoice-schematron/fail.xml", _INVOICE
    ),
    RecordingSource("shacl", "failing", f"{_GALLERY}/equipment-graph/fail.ttl", _GRAPH),
    RecordingSource("shacl", "graph", f"{_GALLERY}/equipment-graph/pass.ttl", _GRAPH),
)


def record(source: RecordingSource) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run the real validator; return its answer and the artifacts, both trimmed."""
    manifest = read_manifest(ROOT / "validators" / source.validator)
    content = source.content()
    with tempfile.TemporaryDirectory() as folder:
        submission = Path(folder, Path(source.file).name)
        submission.write_bytes(content)
        envelope = write_envelope(Path(folder), manifest, submission, inputs=source.inputs)
        _programs.run(*manifest.command[1:], envelope.as_uri(), environ=machine(), folder=ROOT)
        output = json.loads(Path(folder, "output.json").read_bytes())
        files = dict(_artifacts(Path(folder, "outputs")))
    return _trimmed(manifest, content, output, files), files


def _artifacts(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in _ARTIFACTS:
        path = folder / name
        if path.exists():
            yield name, b"".join(path.read_bytes().splitlines(keepends=True)[:_LINES])


def _trimmed(
    manifest: ValidatorManifest, content: bytes, output: dict[str, Any], files: dict[str, bytes]
) -> dict[str, Any]:
    return {
        "type": manifest.validation_type,
        "sha256": hashlib.sha256(content).hexdigest(),
        "status": output["status"],
        "messages": [_message(message) for message in output["messages"]],
        "metrics": [_without_tags(metric) for metric in output["metrics"]],
        "outputs": _outputs(output["outputs"], files),
        "artifacts": [
            {name: artifact[name] for name in ("name", "type", "mime_type")}
            for artifact in output["artifacts"]
            if artifact["name"] in files
        ],
    }


def _without_tags(metric: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metric.items() if name != "tags"}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {
        name: message[name] for name in ("severity", "code", "text", "location") if name in message
    }


def _outputs(outputs: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    kept = {k: v for k, v in outputs.items() if k not in ("logs", "idd_path")}
    kept["execution_seconds"] = round(kept["execution_seconds"], 1)
    if paths := kept.pop("outputs", None):
        kept["outputs"] = {k: path for k, path in paths.items() if Path(path).name in files}
        for name in ("sql", "eso"):
            kept[f"has_{name}_output"] = f"eplusout_{name}" in kept["outputs"]
    return kept


def main() -> None:
    for source in SOURCES:
        answer, files = record(source)
        shutil.rmtree(source.folder, ignore_errors=True)
        source.folder.mkdir(parents=True)
        (source.folder / "answer.json").write_text(json.dumps(answer, indent=2) + "\n")
        for name, content in files.items():
            (source.folder / name).write_bytes(content)
        sys.stdout.write(f"{source.validator}/{source.name}: {answer['status']}\n")


if __name__ == "__main__":
    main()
