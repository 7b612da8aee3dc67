"""Fixtures for pytest: an emulated Google Cloud for each test, and what the test has in it.

The cloud of a test process starts once, in about a second, and each test that uses it sees an empty
project. Google's clients that a test makes are the account `app`, which may do everything; the
fixture `identity` makes them another account. With pytest-xdist each worker has a cloud of its own.

A project overrides `cloud_config` for accounts, roles, buckets or queues of its own. Code that reads
Google's environment variables while it is imported must be imported by the tests, not before them.
"""

import base64
import datetime as dt
import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.gcp.config import CloudConfig, ImageConfig, JobConfig, ServiceConfig
from devenv.gcp.errors import NotFound

_TIMEOUT = 30.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

ActAs: TypeAlias = Callable[[str], None]
WriteSecret: TypeAlias = Callable[[str, str | bytes], str]
MakeJob: TypeAlias = Callable[..., str]
MakeService: TypeAlias = Callable[..., str]
AddFault: TypeAlias = Callable[..., int]


@pytest.fixture(scope="session")
def cloud_config() -> CloudConfig:
    """The project as each test finds it; override it in your conftest.py."""
    return OPEN_PROJECT


@pytest.fixture(scope="session")
def _running_cloud(cloud_config: CloudConfig) -> Iterator[Cloud]:
    with Cloud(cloud_config) as cloud:
        yield cloud


@pytest.fixture
def cloud(
    _running_cloud: Cloud, cloud_config: CloudConfig, monkeypatch: pytest.MonkeyPatch
) -> Cloud:
    """The emulated cloud, empty; this process is its first account."""
    _running_cloud.restart(cloud_config, clean=True)
    if cloud_config.accounts:
        become(_running_cloud, cloud_config.accounts[0], monkeypatch)
    return _running_cloud


@pytest.fixture
def identity(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> ActAs:
    """Make Google's clients that are constructed from now on be a service account."""
    return lambda account: become(cloud, account, monkeypatch)


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    """The name of an empty bucket."""
    name = f"bucket-{secrets.token_hex(4)}"
    path = f"/storage/v1/b?project={cloud.config.project}"
    _post(cloud, "storage.googleapis.com", path, {"name": name})
    return name


@pytest.fixture
def queue(cloud: Cloud) -> str:
    """The full name of an empty queue of Cloud Tasks."""
    name = f"{_location(cloud)}/queues/queue-{secrets.token_hex(4)}"
    _post(cloud, "cloudtasks.googleapis.com", f"/v2/{_location(cloud)}/queues", {"name": name})
    return name


@pytest.fixture
def topic(cloud: Cloud) -> str:
    """The full name of a Pub/Sub topic without subscriptions."""
    name = f"projects/{cloud.config.project}/topics/topic-{secrets.token_hex(4)}"
    _post(cloud, "pubsub.googleapis.com", f"/v1/{name}", {}, method="PUT")
    return name


@pytest.fixture
def secret(cloud: Cloud) -> WriteSecret:
    """Write a secret: `secret("api-key", "value")` returns the full name of its version."""

    def write(name: str, value: str | bytes) -> str:
        data = value.encode() if isinstance(value, str) else value
        parent, host = (
            f"/v1/projects/{cloud.config.project}/secrets",
            "secretmanager.googleapis.com",
        )
        made = _post(cloud, host, f"{parent}?secretId={name}", {"replication": {"automatic": {}}})
        payload = {"payload": {"data": base64.b64encode(data).decode()}}
        version = _post(cloud, host, f"/v1/{made['name']}:addVersion", payload)
        return str(version["name"])

    return write


@pytest.fixture
def job(cloud: Cloud) -> MakeJob:
    """Declare a Cloud Run job that runs a command here: `job("report", "{python}", "-m", "report")`.

    Returns its full name. `account` is by default the first one, `env` sets variables.
    """

    def make(
        name: str, *command: str, account: str = "", env: Mapping[str, str] | None = None
    ) -> str:
        config, image = cloud.config, f"{name}:test"
        account = account or config.accounts[0]
        declared = JobConfig(name, image, account, max_retries=0, env=dict(env or {}))
        images = (*config.images, ImageConfig(image, command))
        cloud.restart(replace(config, images=images, jobs=(*config.jobs, declared)))
        return f"{_location(cloud)}/jobs/{name}"

    return make


@pytest.fixture
def service(cloud: Cloud) -> MakeService:
    """Declare a Cloud Run service at a port of this machine: `service(port)` returns its URL.

    Only accounts with `roles/run.invoker` reach it, unless it is `public`.
    """

    def make(port: int, *, name: str = "service", account: str = "", public: bool = False) -> str:
        config = cloud.config
        declared = ServiceConfig(name, port, account or config.accounts[0], public=public)
        cloud.restart(replace(config, services=(*config.services, declared)))
        return config.service_url(name)

    return make


@pytest.fixture
def fault(cloud: Cloud) -> AddFault:
    """Make calls fail: `fault("storage.objects.insert", status=503, times=3)` returns its id.

    The effects are those of `devenv fault add`: status, delay, reset, lose_answer, duplicate, reorder,
    outcome.
    """

    def add(method: str, **fields: Any) -> int:
        return int(_control(cloud, "faults", {"method": method, **fields})["id"])

    return add


@dataclass(frozen=True, slots=True)
class CloudClock:
    """The clock of the emulated cloud, which a test turns forward instead of waiting.

    Programs keep the machine's time: what they send to the cloud is understood by it.
    """

    cloud: Cloud

    def now(self) -> float:
        """Return the time of the cloud in Unix seconds."""
        return float(_control(self.cloud, "clock")["now"])

    def advance(self, by: str) -> None:
        """Turn the clock forward by `90s`, `10m`, `2h`, `1d`, `1w` or `1d12h`."""
        _control(self.cloud, "clock", {"advance": by})

    def set(self, to: dt.datetime | str) -> None:
        """Turn the clock forward to a time; one without an offset is in UTC."""
        _control(self.cloud, "clock", {"set": to if isinstance(to, str) else to.isoformat()})

    def reset(self) -> None:
        """Show the machine's time again."""
        _control(self.cloud, "clock", verb="DELETE")


@pytest.fixture
def clock(cloud: Cloud) -> CloudClock:
    """The clock of the emulated cloud: `clock.advance("2h")`. Each test begins with the real time."""
    return CloudClock(cloud)


@dataclass(frozen=True, slots=True)
class TestMailbox:
    """A mail server for programs under test, and the mails that they sent to it."""

    __test__ = False

    host: str
    port: int
    page: str

    def messages(self) -> list[dict[str, Any]]:
        """Return the mails, the newest first, in the form of Mailpit's API."""
        found: list[dict[str, Any]] = _json(f"{self.page}/api/v1/messages")["messages"]
        return found

    def clear(self) -> None:
        """Delete all mails."""
        _ask(f"{self.page}/api/v1/messages", verb="DELETE")


@pytest.fixture(scope="session")
def _running_mailbox() -> Iterator[TestMailbox]:
    smtp, http = _free_port(), _free_port()
    ports = ("--smtp-port", str(smtp), "--http-port", str(http))
    process = subprocess.Popen([sys.executable, "-m", "devenv.mail", *ports])
    mailbox = TestMailbox("127.0.0.1", smtp, f"http://127.0.0.1:{http}")
    try:
        _wait(f"{mailbox.page}/readyz", process)
        yield mailbox
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def mailbox(_running_mailbox: TestMailbox) -> TestMailbox:
    """An empty mailbox; send to its `host` and `port`."""
    _running_mailbox.clear()
    return _running_mailbox


def become(cloud: Cloud, account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of this process, so that Google's new clients are `account`."""
    try:
        environ = cloud.environ(account)
    except (NotFound, KeyError):
        pytest.fail(
            f"The project has no account {account!r:.60} at its start; it has "
            f"{', '.join(cloud.config.accounts)}. Add it to `accounts` of the fixture cloud_config, in "
            "your conftest.py."
        )
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    # google-auth reads this variable only when it is imported.
    if module := sys.modules.get("google.auth.compute_engine._metadata"):
        monkeypatch.setattr(module, "_GCE_METADATA_HOST", environ["GCE_METADATA_HOST"])


def _location(cloud: Cloud) -> str:
    return f"projects/{cloud.config.project}/locations/{cloud.config.region}"


def _post(
    cloud: Cloud, host: str, path: str, body: Mapping[str, Any], *, method: str = "POST"
) -> Any:
    """Call an API of Google's as the first account."""
    token = cloud.access_token(cloud.config.accounts[0])
    headers = {"Host": host, "Authorization": f"Bearer {token}"}
    return json.loads(_ask(f"{cloud.plain_url}{path}", json.dumps(body).encode(), headers, method))


def _control(
    cloud: Cloud, path: str, body: Mapping[str, Any] | None = None, *, verb: str | None = None
) -> Any:
    headers = {"Authorization": f"Bearer {cloud.control_token}"}
    return _json(f"{cloud.plain_url}/_devenv/{path}", body, headers=headers, verb=verb)


def _json(
    url: str,
    body: Mapping[str, Any] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    verb: str | None = None,
) -> Any:
    data = None if body is None else json.dumps(body).encode()
    return json.loads(_ask(url, data, headers, verb))


def _ask(
    url: str,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    verb: str | None = None,
) -> bytes:
    request = urllib.request.Request(url, data, dict(headers or {}), method=verb)  # noqa: S310
    try:
        with _DIRECT.open(request, timeout=_TIMEOUT) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            pytest.fail(
                f"{url} answers {error.code}: {error.read().decode(errors='replace')[:500]}"
            )


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            with _DIRECT.open(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{url} does not answer.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
