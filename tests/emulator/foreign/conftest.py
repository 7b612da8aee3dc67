"""Google's Node clients and gcloud: a program for each account, or for each command.

`make foreign` installs the clients. Without them the tests are skipped; in CI that is a failure.
"""

import atexit
import base64
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from devenv.environment import machine
from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.cloud import ROOT
from tests.forked import Fork, ForkServer

NODE = Path(__file__).parent / "node"

# The imports of most commands; the first one has the others found.
_GCLOUD_LOADED = (
    *("gcloud", "googlecloudsdk.gcloud_main"),
    *(
        f"googlecloudsdk.{name}"
        for name in (
            "api_lib.logging.common",
            "api_lib.run.container_resource",
            "api_lib.storage.storage_util",
            "calliope.concepts.multitype",
            "command_lib.iam.iam_util",
            "command_lib.projects.util",
            "command_lib.pubsub.util",
            "command_lib.run.serverless_operations",
            "command_lib.storage.tasks.cp.copy_task_factory",
            "command_lib.util.concepts.presentation_specs",
            "core.credentials.transports",
            "core.document_renderers.render_document",
            "core.updater.update_manager",
            "generated_clients.apis.iam.v1.iam_v1_messages",
        )
    ),
)

type Client = Callable[..., Any]
type Gcloud = Callable[..., str]


@pytest.fixture
def node(cloud: Cloud) -> Client:
    """Run a command of `node/client.mjs` as an account and return its answer."""
    require_node()

    def ask(account: str, *asked: str) -> Any:
        return ask_node(cloud, account, *asked)

    return ask


def ask_node(cloud: Cloud, account: str, *asked: str) -> Any:
    """Return the answer of the program of an account to a command."""
    program = _node_program(tuple((dict(machine()) | cloud.environ(account)).items()))
    assert program.stdin
    assert program.stdout
    program.stdin.write(json.dumps(asked) + "\n")
    program.stdin.flush()
    told = json.loads(program.stdout.readline())
    assert "error" not in told, told["error"]
    return told["answer"]


def require_node() -> None:
    """Skip the test, or fail it in CI, without Node or Google's clients for it."""
    if not shutil.which("node"):
        skip_or_fail("node is not installed")
    if not (NODE / "node_modules").is_dir():
        skip_or_fail("Google's Node clients are not installed: run `make foreign`")


@pytest.fixture
def gcloud(cloud: Cloud) -> Gcloud:
    """Run gcloud as the administrator, with text as its input, and return what it prints."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    environ = _gcloud_environ(cloud)
    server = _gcloud_server(tuple(environ.items()))

    def run(*arguments: str, text: str = "") -> str:
        done = server.run("-m", "gcloud", *arguments, environ=environ, folder=ROOT, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def tailed(gcloud: Gcloud, cloud: Cloud, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Start `gcloud beta logging tail` with a filter, and return the file of what it prints."""
    environ, forks = _gcloud_environ(cloud), []
    command = ("-m", "gcloud", "beta", "logging", "tail", "--format=value(text_payload)")

    def start(text: str) -> Path:
        out = tmp_path / "tailed"
        with out.open("wb") as file, Path(os.devnull).open("rb") as given:
            server = _gcloud_server(tuple(environ.items())).address
            files = [given.fileno(), file.fileno(), file.fileno()]
            forks.append(Fork(server, (*command, text), environ=environ, folder=ROOT, files=files))
        return out

    yield start
    for fork in forks:
        fork.send_signal(signal.SIGKILL)
        fork.wait()


def _gcloud_environ(cloud: Cloud) -> dict[str, str]:
    own = {"CLOUDSDK_STORAGE_PROCESS_COUNT": "1", "PYTHONUNBUFFERED": "1"}
    return dict(machine()) | cloud.environ("admin") | own


@cache
def _node_program(environ: tuple[tuple[str, str], ...]) -> "subprocess.Popen[str]":
    """Start the program that answers all commands of an account, until this process ends."""
    command = ["node", str(NODE / "client.mjs")]
    program = subprocess.Popen(
        command, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(program.communicate)
    return program


@cache
def _gcloud_server(environ: tuple[tuple[str, str], ...]) -> ForkServer:
    """Return a server that has gcloud's packages loaded, which each call would do for most of a second."""
    found = shutil.which("gcloud")
    assert found
    sdk = Path(found).resolve().parents[1]
    own = sdk / "platform/bundledpythonunix/bin/python3"
    interpreter = str(own) if own.exists() else "python3"
    # Some of its modules read the variables while they are imported.
    return ForkServer(
        interpreter, _GCLOUD_LOADED, {**dict(environ), "PYTHONPATH": str(sdk / "lib")}
    )


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


def skip_or_fail(reason: str) -> None:
    """Skip a test whose clients are not installed; in CI that is a failure."""
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
