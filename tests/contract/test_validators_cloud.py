"""Validator on the emulated cloud: `gs://` files and an ID token."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from devenv.environment import machine
from devenv.gcp.cloud import Cloud
from devenv.gcp.config import CloudConfig, IamBinding
from tests import forked
from tests.standin.worker import Worker
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope

CONFIG = CloudConfig(
    accounts=("worker", "validator"),
    buckets=("runs",),
    bindings=(
        IamBinding("worker", "roles/storage.objectUser", "bucket/runs"),
        IamBinding("validator", "roles/storage.objectViewer", "bucket/runs"),
        IamBinding("validator", "roles/storage.objectCreator", "bucket/runs"),
    ),
)
PUT = """
import json, sys
from google.cloud.storage import Client
bucket = Client().bucket("runs")
for name, path in json.loads(sys.argv[1]).items():
    blob = bucket.blob(name)
    blob.upload_from_filename(path)
    print(blob.generation)
"""
GET = """
import sys
from google.cloud.storage import Client
print(Client().bucket("runs").blob(sys.argv[1]).download_as_text())
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(CONFIG, data=tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


def python(*arguments: str, environment: Mapping[str, str]) -> "CompletedProcess[str]":
    return forked.python(*arguments, environ={**machine(), **environment})


def put(cloud: Cloud, files: dict[str, str]) -> list[str]:
    done = python("-c", PUT, json.dumps(files), environment=cloud.environ("worker"))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def launch(
    cloud: Cloud, folder: Path, *, url: str, generation: str | None = None
) -> dict[str, str]:
    """Store an FMU and its envelope below `runs/<folder>`; return the validator's environment."""
    manifest = read_manifest(Path("validators/fmu"))
    path = write_envelope(folder, manifest, manifest.samples[0].path, callback_url=url)
    prefix = folder.name
    (stored,) = put(cloud, {f"{prefix}/model.fmu": str(manifest.samples[0].path)})
    envelope = json.loads(path.read_text())
    envelope["input_files"][0] |= {
        "uri": f"gs://runs/{prefix}/model.fmu",
        "storage_version": generation or stored,
    }
    envelope["context"] |= {
        "expected_output_uri": f"gs://runs/{prefix}/output.json",
        "execution_bundle_uri": f"gs://runs/{prefix}",
    }
    path.write_text(json.dumps(envelope))
    put(cloud, {f"{prefix}/input.json": str(path)})
    return {
        **cloud.environ("validator"),
        "VALIDIBOT_INPUT_URI": f"gs://runs/{prefix}/input.json",
        "DEPLOYMENT_TARGET": "gcp",
    }


def output(cloud: Cloud, folder: Path) -> dict[str, Any]:
    done = python("-c", GET, f"{folder.name}/output.json", environment=cloud.environ("worker"))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def claims(authorization: str | None) -> dict[str, Any]:
    payload = (authorization or "").removeprefix("Bearer ").split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


@pytest.mark.parametrize("module", ["validators.fmu", "tests.standin.container"])
def test_each_execution_calls_back_for_one_output(
    cloud: Cloud, tmp_path: Path, module: str
) -> None:
    with Worker() as worker:
        environment = {**launch(cloud, tmp_path, url=worker.url), "STANDIN_KIND": "fmu"}
        for _ in range(2):
            done = python("-m", module, environment=environment)
            assert done.returncode == 0, done.stderr

    assert output(cloud, tmp_path)["status"] == "success"
    first, second = worker.callbacks
    assert first.body == second.body
    identity = claims(first.authorization)
    assert identity["aud"] == worker.url.removesuffix("/api/v1/validation-callbacks/")
    assert identity["email"] == CONFIG.email("validator")


def test_input_of_other_generation_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    with Worker() as worker:
        environment = launch(cloud, tmp_path, url=worker.url, generation="1")
        done = python("-m", "validators.fmu", environment=environment)

    assert done.returncode == 1
    answer = output(cloud, tmp_path)
    assert (answer["status"], answer["messages"][0]["code"]) == (
        "failed_runtime",
        "INPUT_UNAVAILABLE",
    )
    assert worker.callbacks[0].body["status"] == "failed_runtime"


def test_missing_envelope_exits_with_2(cloud: Cloud) -> None:
    environment = {**cloud.environ("validator"), "VALIDIBOT_INPUT_URI": "gs://runs/no/input.json"}

    assert python("-m", "validators.fmu", environment=environment).returncode == 2
