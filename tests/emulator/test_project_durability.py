"""Accounts, keys, roles, enabled services and repositories outlive `kill -9`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.cloud import ROOT
from tests.emulator.test_process import wait_for

TOML = """
[gcp]
iam = "off"
accounts = ["declared"]
"""
PROJECT = "v1/projects/local-project"
REPOSITORIES = f"{PROJECT}/locations/us-west1/repositories"
EMAIL = "created@local-project.iam.gserviceaccount.com"


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    (folder / "devenv.toml").write_text(TOML)
    options = ["--config", str(folder / "devenv.toml"), "--data", str(folder / "data")]
    process = subprocess.Popen([sys.executable, "-m", "devenv.gcp", *options], cwd=ROOT)
    try:
        yield process, wait_for(folder / "data" / "endpoints.json", process.pid)
    finally:
        process.kill()
        process.wait()


def ask(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    answer = httpx.request(method, url, trust_env=False, json=body)
    return answer.raise_for_status().json()


def test_accounts_keys_and_roles_survive_kill(tmp_path: Path) -> None:
    with running(tmp_path) as (process, where):
        plain = where["plain"]
        made = ask("POST", f"{plain}/{PROJECT}/serviceAccounts", {"accountId": "created"})
        key = ask("POST", f"{plain}/v1/{made['name']}/keys", {})
        role = {"roleId": "reader", "role": {"includedPermissions": ["run.jobs.get"]}}
        ask("POST", f"{plain}/{PROJECT}/roles", role)
        gone = ask("POST", f"{plain}/{PROJECT}/serviceAccounts", {"accountId": "deleted"})
        ask("DELETE", f"{plain}/v1/{gone['name']}")
        ask("POST", f"{plain}/{PROJECT}/services/run.googleapis.com:disable", {})
        ask("POST", f"{plain}/{REPOSITORIES}?repositoryId=images", {"format": "DOCKER"})
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(tmp_path) as (_, after):
        plain = after["plain"]
        keys = ask("GET", f"{plain}/v1/{made['name']}/keys?keyTypes=USER_MANAGED")
        (again,) = keys["keys"]
        (image,) = ask("GET", f"{plain}/{REPOSITORIES}")["repositories"]
        found = ask("GET", f"{plain}/{PROJECT}/roles/reader")
        name = f"{PROJECT}/serviceAccounts/{gone['uniqueId']}"
        restored = ask("POST", f"{plain}/{name}:undelete", {})["restoredAccount"]

        assert ask("GET", f"{plain}/v1/{made['name']}") == made
        assert ask("GET", f"{plain}/{PROJECT}/services/run.googleapis.com")["state"] == "DISABLED"
        assert who_am_i(after["environ"]["created"]["GCE_METADATA_HOST"]) == EMAIL
    assert again["name"] == key["name"]
    assert image["registryUri"] == "us-west1-docker.pkg.dev/local-project/images"
    assert found["includedPermissions"] == ["run.jobs.get"]
    assert restored["uniqueId"] == gone["uniqueId"]


def who_am_i(metadata: str) -> str:
    path = "computeMetadata/v1/instance/service-accounts/default/email"
    headers = {"Metadata-Flavor": "Google"}
    return httpx.get(f"http://{metadata}/{path}", headers=headers, trust_env=False).text
