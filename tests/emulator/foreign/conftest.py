"""Google's Node and Go clients, each command of them run as a program of its own.

`make foreign` installs both. Without them the tests are skipped; in CI that is a failure.
"""

import base64
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from devenv.environment import machine
from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.cloud import ROOT

NODE = Path(__file__).parent / "node"
GO_PROGRAM = ROOT / ".tools" / "go-clients"
TIMEOUT = 60

type Client = Callable[..., Any]
type Gcloud = Callable[..., str]


@pytest.fixture
def node(cloud: Cloud) -> Client:
    """Run a command of `node/client.mjs` as an account and return what it prints."""
    if not shutil.which("node"):
        _skip("node is not installed")
    if not (NODE / "node_modules").is_dir():
        _skip("Google's Node clients are not installed: run `make foreign`")
    return partial(_run, cloud, ["node", str(NODE / "client.mjs")])


@pytest.fixture
def go(cloud: Cloud) -> Client:
    """Run a command of `go/main.go` as an account and return what it prints."""
    if not GO_PROGRAM.is_file():
        _skip("Google's Go clients are not built: run `make foreign`, which needs go")
    return partial(_run, cloud, [str(GO_PROGRAM)])


@pytest.fixture
def gcloud(cloud: Cloud) -> Gcloud:
    """Run gcloud as the administrator, with text as its input, and return what it prints."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    environ = dict(machine()) | cloud.environ("admin")

    def run(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            ["gcloud", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            input=text,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def key_file(cloud: Cloud, config: CloudConfig, tmp_path: Path) -> Path:
    """Create a key of the account `web` and return its key file."""
    account = f"projects/{config.project}/serviceAccounts/{config.email('web')}"
    metadata = cloud.environ("admin")["GCE_METADATA_HOST"]
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    answer = httpx.get(
        f"http://{metadata}{path}", headers={"Metadata-Flavor": "Google"}, trust_env=False
    )
    token = answer.json()["access_token"]
    with _client(cloud) as client:
        made = client.post(
            f"https://iam.googleapis.com/v1/{account}/keys",
            json={},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert made.status_code == 200, made.text
    file = tmp_path / "key.json"
    file.write_bytes(base64.b64decode(made.json()["privateKeyData"]))
    return file


def _client(cloud: Cloud) -> httpx.Client:
    trust = ssl.create_default_context(cafile=cloud.bundle)
    return httpx.Client(proxy=cloud.proxy_url, verify=trust)


def _run(cloud: Cloud, program: list[str], account: str, *arguments: str) -> Any:
    environ = dict(machine()) | cloud.environ(account)
    done = subprocess.run(
        [*program, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _skip(reason: str) -> None:
    if machine().get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def check_signed_url(cloud: Cloud, url: str) -> None:
    """Assert that a signed URL serves its object, and neither another object nor another time."""
    parts = urlsplit(url)
    with _client(cloud) as client:
        assert client.get(url).text == "signed"
        assert client.get(url.replace(parts.path, f"{parts.path}x")).status_code == 403
        later = re.sub(r"(Expires=)(\d+)", r"\g<1>1\2", url)
        assert client.get(later).status_code in (400, 403)
        assert client.delete(url).status_code == 403
