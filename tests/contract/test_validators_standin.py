"""Stand-in for published containers, with their oddities."""

import json
import signal
from pathlib import Path

import pytest

from devenv.environment import machine
from tests import forked
from tests.standin.worker import Worker
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope

SAMPLES = {
    "energyplus": Path("validators/energyplus/samples/small_office_designday.idf"),
    "fmu": Path("validators/fmu/samples/decay.fmu"),
}


def execute(envelope: Path, kind: str = "energyplus", **environment: str) -> int:
    done = forked.python(
        *("-m", "tests.standin.container"),
        environ={
            **machine(),
            "VALIDIBOT_INPUT_URI": envelope.as_uri(),
            "STANDIN_KIND": kind,
            **environment,
        },
    )
    return done.returncode


def envelope(folder: Path, kind: str = "energyplus", url: str | None = None) -> Path:
    manifest = read_manifest(Path("validators", kind))
    return write_envelope(folder, manifest, SAMPLES[kind], callback_url=url)


def status(folder: Path) -> str:
    stored: str = json.loads((folder / "output.json").read_text())["status"]
    return stored


@pytest.mark.parametrize("kind", ["energyplus", "fmu"])
def test_standin_stores_output_and_repeats_callback_only(tmp_path: Path, kind: str) -> None:
    with Worker() as worker:
        question = envelope(tmp_path, kind, worker.url)
        assert execute(question, kind) == 0
        assert execute(question, kind, STANDIN="failed_runtime") == 0

    assert [callback.body["status"] for callback in worker.callbacks] == ["success", "success"]
    assert status(tmp_path) == "success"


@pytest.mark.parametrize(
    ("behaviour", "code", "stored"),
    [
        ("failed_validation", 0, "failed_validation"),
        ("explode", 1, "failed_runtime"),
        ("vanish", 0, None),
        ("die", -signal.SIGKILL, None),
        ("silent", 0, "success"),
    ],
)
def test_standin_misbehaves_as_configured(
    tmp_path: Path, behaviour: str, code: int, stored: str | None
) -> None:
    assert execute(envelope(tmp_path), STANDIN=behaviour) == code

    assert (tmp_path / "output.json").exists() is (stored is not None)
    if stored:
        assert status(tmp_path) == stored


@pytest.mark.parametrize(
    ("answer", "code", "posts"),
    [
        ({"answer": b""}, 1, 1),
        ({"status": 204, "answer": b""}, 1, 1),
        ({"status": 202, "answer": b"{}"}, 0, 1),
        ({"answer": b"[]"}, 0, 1),
        ({"status": 409}, 1, 3),
        ({"status": 307}, 1, 3),
    ],
)
def test_standin_accepts_json_answers_only(
    tmp_path: Path, answer: dict[str, object], code: int, posts: int
) -> None:
    with Worker(**answer) as worker:  # type: ignore[arg-type]
        assert execute(envelope(tmp_path, url=worker.url)) == code

    assert len(worker.callbacks) == posts
    assert status(tmp_path) == "success"


@pytest.mark.parametrize(("kind", "code"), [("energyplus", 0), ("fmu", 1)])
def test_standin_stores_nothing_for_invalid_envelope(tmp_path: Path, kind: str, code: int) -> None:
    (tmp_path / "input.json").write_text("{}")

    assert execute(tmp_path / "input.json", kind) == code
    assert [path.name for path in tmp_path.iterdir()] == ["input.json"]


@pytest.mark.parametrize(("kind", "code"), [("energyplus", 0), ("fmu", 1)])
def test_standin_reports_changed_input(tmp_path: Path, kind: str, code: int) -> None:
    question = envelope(tmp_path, kind)
    changed = json.loads(question.read_text())
    changed["input_files"][0]["sha256"] = "0" * 64
    question.write_text(json.dumps(changed))

    assert execute(question, kind) == code
    assert status(tmp_path) == "failed_runtime"


def test_standin_requires_capability(tmp_path: Path) -> None:
    assert execute(envelope(tmp_path), VALIDIBOT_GCS_CAPABILITY_REQUIRED="true") == 1
    assert not (tmp_path / "output.json").exists()
