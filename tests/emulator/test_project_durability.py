"""Accounts, keys, roles and enabled services are still there after `kill -9`."""

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


def test_everything_about_the_project_survives_kill(tmp_path: Path) -> None:
    with running(tmp_path) as (process, where):
        plain = where["plain"]
        made = ask("POST", f"{plain}/{PROJECT}/serviceAccounts", {"accountId": "created"})
        key = ask("POST", f"{plain}/v1/{made['name']}/keys", {})
        role = {"roleId": "reader", "role": {"includedPermissions": ["run.jobs.get"]}}
        ask("POST", f"{plain}/{PROJECT}/roles", role)
        ask("POST", f"{plain}/{PROJECT}/services/run.googleapis.com:disable", {})
        gone = ask("POST", f"{plain}/{PROJECT}/serviceAccounts", {"accountId": "deleted"})
        ask("DELETE", f"{plain}/v1/{gone['name']}")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(tmp_path) as (_, after):
        plain = after["plain"]
        again = ask("GET", f"{plain}/v1/{made['name']}")
        keys = ask("GET", f"{plain}/v1/{made['name']}/keys")["keys"]
        found = ask("GET", f"{plain}/{PROJECT}/roles/reader")
        off = ask("GET", f"{plain}/{PROJECT}/services/run.googleapis.com")["state"]
        host = after["environ"]["created"]["GCE_METADATA_HOST"]
        email = httpx.get(
            f"http://{host}/computeMetadata/v1/instance/service-accounts/default/email",
            headers={"Metadata-Flavor": "Google"},
            trust_env=False,
        ).text
        name = f"{PROJECT}/serviceAccounts/{gone['uniqueId']}"
        restored = ask("POST", f"{plain}/{name}:undelete", {})["restoredAccount"]

    assert again == made
    assert email == EMAIL
    assert [each["name"] for each in keys] == [key["name"]]
    assert (found["includedPermissions"], off) == (["run.jobs.get"], "DISABLED")
    assert restored["uniqueId"] == gone["uniqueId"]
