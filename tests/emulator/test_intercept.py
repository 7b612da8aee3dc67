"""Interception of unmodified clients by the proxy."""

# mypy: disable-error-code="no-untyped-call"

import _socket
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import pytest_socket
import requests
from google.api_core.exceptions import ResourceExhausted
from google.cloud import run_v2, tasks_v2
from google.cloud.storage import Client

from devenv.environment import machine
from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs
from tests.waiting import LIMIT, until

PLACE = "projects/validibot-local/locations/us-west1"
QUEUE = f"{PLACE}/queues/runs"
FETCH = """
class Fetch {
    public static void main(String[] addresses) throws Exception {
        for (String address : addresses) {
            var call = (java.net.HttpURLConnection) new java.net.URL(address).openConnection();
            call.setRequestProperty("Metadata-Flavor", "Google");
            System.out.println(call.getResponseCode());
        }
    }
}
"""
JOB = f"{PLACE}/jobs/validibot-validator-fmu"


@pytest.fixture(autouse=True)
def _worker(act_as: ActAs) -> None:
    act_as("worker")


def test_tasks_client_without_arguments_is_intercepted() -> None:
    with tasks_v2.CloudTasksClient() as client:
        request = tasks_v2.HttpRequest(url="http://127.0.0.1:1/x")
        task = client.create_task(parent=QUEUE, task=tasks_v2.Task(http_request=request))

    assert task.name.startswith(f"{QUEUE}/tasks/")


def test_message_beyond_the_limit_is_refused_and_the_next_call_answered() -> None:
    request = tasks_v2.HttpRequest(url="http://127.0.0.1:1/x", body=bytes(21 << 20))
    with tasks_v2.CloudTasksClient() as client:
        with pytest.raises(ResourceExhausted, match="larger than max"):
            client.create_task(parent=QUEUE, task=tasks_v2.Task(http_request=request))
        small = tasks_v2.HttpRequest(url=request.url)
        task = client.create_task(parent=QUEUE, task=tasks_v2.Task(http_request=small))

    assert task.name


def test_run_client_without_arguments_is_intercepted() -> None:
    with run_v2.JobsClient() as client:
        assert client.get_job(name=JOB).name == JOB


def test_storage_client_without_arguments_is_intercepted() -> None:
    with Client() as client:
        blob = client.bucket("validibot-local").blob("intercept/a")
        blob.upload_from_string("hello")
        assert blob.download_as_bytes() == b"hello"


def test_java_is_intercepted(cloud: Cloud, tmp_path: Path) -> None:
    if not shutil.which("java"):
        pytest.skip("java is not installed")
    program = tmp_path / "Fetch.java"
    program.write_text(FETCH)
    environ = machine() | cloud.environ("worker")
    metadata = f"http://{environ['GCE_METADATA_HOST']}/computeMetadata/v1/project/project-id"
    done = subprocess.run(
        ["java", program, metadata, "https://storage.googleapis.com/storage/v1/b/validibot-local"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["200", "401"]


def test_other_host_is_refused_naming_the_setting() -> None:
    with pytest.raises(requests.exceptions.ProxyError, match=r"503 example\.com.*allow_hosts"):
        requests.get("https://example.com/", timeout=LIMIT)


def test_plain_http_to_other_host_is_refused() -> None:
    answer = requests.get("http://example.com/", timeout=LIMIT)

    assert answer.status_code == 503
    assert "example.com is not emulated" in answer.text


def test_plain_http_to_emulated_host_is_answered() -> None:
    answer = requests.get("http://www.googleapis.com/oauth2/v1/certs", timeout=LIMIT)

    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT :x HTTP/1.1\r\n\r\n"])
def test_invalid_proxy_request_is_refused(cloud: Cloud, head: bytes) -> None:
    host, _, port = cloud.proxy_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT) as client:
        client.sendall(head)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1000).startswith(b"HTTP/1.1 400")


def test_name_that_no_host_can_have_is_refused(cloud: Cloud) -> None:
    host, _, port = cloud.proxy_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT) as client:
        client.sendall(b"CONNECT %b.localhost:443 HTTP/1.1\r\n\r\n" % (b"a" * 70))
        assert client.recv(1000).startswith(b"HTTP/1.1 502")


def test_proxy_answers_while_tests_may_make_no_sockets(cloud: Cloud) -> None:
    """Jobs that outlive their test call the proxy while a test without sockets runs."""
    host, _, port = cloud.proxy_url.removeprefix("http://").partition(":")
    client = _socket.socket()
    client.settimeout(30)
    pytest_socket.disable_socket()
    try:
        client.connect((host, int(port)))
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
    finally:
        pytest_socket.enable_socket()
        client.close()


def test_allowed_host_is_reached(cloud: Cloud) -> None:
    proxies = {"http": cloud.proxy_url, "https": cloud.proxy_url}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{cloud.plain_url}/_devenv/health", proxies=proxies, timeout=LIMIT)

    assert answer.json() == {"status": "ok"}


def test_unreachable_host_is_named(cloud: Cloud) -> None:
    with requests.Session() as session:
        session.trust_env = False
        proxies = {"http": cloud.proxy_url}
        answer = session.get("http://127.0.0.1:1/", proxies=proxies, timeout=LIMIT)

    assert answer.status_code == 502
    assert "127.0.0.1:1 cannot be reached" in answer.text


def test_plain_port_serves_tls_for_localhost(cloud: Cloud) -> None:
    url = cloud.plain_url.replace("http://127.0.0.1", "https://localhost")
    answer = requests.get(f"{url}/_devenv/health", verify=str(cloud.bundle), timeout=LIMIT)

    assert answer.json() == {"status": "ok"}


def test_request_body_is_not_delayed_by_acknowledgements(cloud: Cloud) -> None:
    with requests.Session() as session:

        def is_quick() -> bool:
            url, form = "https://sts.googleapis.com/v1/token", {"a": "b"}
            return session.post(url, data=form, timeout=60).elapsed.total_seconds() < 0.030

        until(is_quick, every=0)  # the delay is 40 ms, always
