"""Deployed services are served again after `kill -9`, and interrupted deployments end."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.cloud import ROOT
from tests.emulator.test_process import wait_for
from tests.waiting import until

TOML = """
[gcp]
iam = "off"
accounts = ["runner"]
[[gcp.images]]
name = "demo/server:1"
command = ["{python}", "-m", "tests.emulator.echo_server"]
"""
SERVICES = "v2/projects/local-project/locations/us-west1/services"
EMAIL = "runner@local-project.iam.gserviceaccount.com"


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    (folder / "devenv.toml").write_text(TOML)
    options = ["--config", "devenv.toml", "--data", "data"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - for a child of this test
    process = subprocess.Popen(
        [sys.executable, "-m", "devenv.gcp", *options, "--folder", str(ROOT)],
        cwd=folder,
        env=environ,
    )
    try:
        yield process, wait_for(folder / "data" / "endpoints.json", process.pid)
    finally:
        process.terminate()
        process.wait()


def deploy(plain: str, name: str, **env: str) -> Any:
    variables = [{"name": key, "value": value} for key, value in env.items()]
    container = {"image": "demo/server:1", "env": variables}
    template = {"containers": [container], "serviceAccount": EMAIL}
    body = {"template": template, "invokerIamDisabled": True}
    url = f"{plain}/{SERVICES}"
    answer = httpx.post(url, params={"serviceId": name}, json=body, trust_env=False)
    return answer.raise_for_status().json()


def get(url: str) -> Any:
    return httpx.get(url, trust_env=False).raise_for_status().json()


def call(where: dict[str, Any], url: str) -> httpx.Response:
    trusted = ssl.create_default_context(cafile=where["bundle"])
    with httpx.Client(proxy=where["proxy"], verify=trusted) as client:
        return client.get(url)


def test_services_and_deployments_survive_kill(tmp_path: Path) -> None:
    with running(tmp_path) as (process, where):
        plain = where["plain"]
        deployed = deploy(plain, "deployed")["name"]
        until(lambda: get(f"{plain}/v2/{deployed}").get("done"))
        before = get(f"{plain}/{SERVICES}/deployed")
        assert call(where, before["uri"]).text == "hello"
        interrupted = deploy(plain, "interrupted", START_AFTER="1")["name"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(tmp_path) as (_, where):
        plain = where["plain"]
        after = get(f"{plain}/{SERVICES}/deployed")
        answer = call(where, after["uri"])
        until(lambda: get(f"{plain}/v2/{interrupted}").get("done"))
        late = get(f"{plain}/{SERVICES}/interrupted")

    assert after == before
    assert answer.text == "hello"
    assert late["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    assert late["latestReadyRevision"] == late["latestCreatedRevision"]
