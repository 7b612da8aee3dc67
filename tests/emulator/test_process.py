"""The emulated cloud as a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from devenv.gcp import Cloud
from tests.cloud import ROOT
from tests.waiting import until

TOML = """
[gcp]
accounts = ["web"]
bindings = [{ member = "web", role = "roles/cloudtasks.admin" }]
[[gcp.queues]]
name = "runs"
"""
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
QUEUE = "/v2/projects/local-project/locations/us-west1/queues/runs"


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    (folder / "devenv.toml").write_text(TOML)
    endpoints = folder / "data" / "endpoints.json"
    options = ["--config", str(folder / "devenv.toml"), "--data", str(folder / "data")]
    process = subprocess.Popen([sys.executable, "-m", "devenv.gcp", *options], cwd=ROOT)
    try:
        yield process, wait_for(endpoints, process.pid)
    finally:
        process.kill()
        process.wait()


def wait_for(endpoints: Path, pid: int) -> dict[str, Any]:
    """Return what the emulated cloud writes when it has started."""

    def started() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(endpoints.read_text())
        return found if found["pid"] == pid else None

    return until(started, forgive=FileNotFoundError) or {}


def test_clients_continue_after_kill(tmp_path: Path) -> None:
    with running(tmp_path) as (process, before):
        metadata = before["environ"]["web"]["GCE_METADATA_HOST"]
        flavor = {"Metadata-Flavor": "Google"}
        got = httpx.get(f"http://{metadata}{TOKEN}", headers=flavor, trust_env=False)
        headers = {"Authorization": f"Bearer {got.json()['access_token']}"}
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(tmp_path) as (_, after):
        answer = httpx.get(f"{before['plain']}{QUEUE}", headers=headers, trust_env=False)

    assert answer.status_code == 200
    assert after["environ"] == before["environ"]


def test_sigterm_stops_process(tmp_path: Path) -> None:
    with running(tmp_path) as (process, where):
        assert httpx.get(f"{where['plain']}/_devenv/health", trust_env=False).is_success
        process.terminate()
        assert process.wait(timeout=300) == 0


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [('iam = "maybe"', "gcp.iam is 'maybe'"), ('buckets = ["b"]', "Invalid bucket name: 'b'")],
)
def test_invalid_configuration_is_refused_by_name(
    tmp_path: Path, setting: str, complaint: str
) -> None:
    (tmp_path / "devenv.toml").write_text(f"[gcp]\n{setting}")
    command = [sys.executable, "-m", "devenv.gcp", "--config", str(tmp_path / "devenv.toml")]
    command += ["--data", str(tmp_path / "data")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_gcloud_prints_token_without_login(cloud: Cloud) -> None:
    environ = {**os.environ, **cloud.environ("web")}  # noqa: TID251 - gcloud is a child of this test
    command = ["gcloud", "auth", "print-identity-token", "--audiences=https://a.example"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".") == 2
