"""The pytest plugin in a test process of its own, as another project uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import ROOT

pytestmark = pytest.mark.xdist_group("devenv")

TESTS = """
import datetime
import http.server
import smtplib
import threading
import time

import pytest
import requests
from google.api_core.exceptions import NotFound, PermissionDenied
from google.auth.transport.requests import Request
from google.cloud import pubsub_v1, run_v2, secretmanager_v1, storage, tasks_v2
from google.oauth2.id_token import fetch_id_token


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_clean_project(cloud, turn):
    client = storage.Client()
    assert not list(client.list_buckets())
    client.create_bucket("mine").blob("a").upload_from_string("x")


def test_bucket_and_fault(bucket, fault):
    fault("storage.objects.insert", status=503, times=2)
    blob = storage.Client().bucket(bucket).blob("a")
    blob.upload_from_string("x", if_generation_match=0)
    assert blob.download_as_bytes() == b"x"


def test_queue(queue):
    task = {"http_request": {"url": "http://127.0.0.1:9/"}}
    assert tasks_v2.CloudTasksClient().create_task(parent=queue, task=task).name.startswith(queue)


def test_clock(queue, clock):
    client = tasks_v2.CloudTasksClient()
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)
    task = {"http_request": {"url": "http://127.0.0.1:9/"}, "schedule_time": due}
    name = client.create_task(parent=queue, task=task).name
    before = clock.now()
    clock.advance("1d")
    assert clock.now() >= before + 86400
    assert client.get_task(name=name).dispatch_count == 0
    clock.set(due)
    while client.get_task(name=name).dispatch_count == 0:
        time.sleep(0.05)


def test_topic(topic):
    name = topic.replace("topics", "subscriptions")
    with pubsub_v1.SubscriberClient() as subscriber, pubsub_v1.PublisherClient() as publisher:
        subscriber.create_subscription(name=name, topic=topic)
        publisher.publish(topic, b"hello").result(60)
        (message,) = subscriber.pull(subscription=name, max_messages=1).received_messages
    assert message.message.data == b"hello"


def test_secret(secret):
    name = secret("api-key", "value")
    client = secretmanager_v1.SecretManagerServiceClient()
    assert client.access_secret_version(name=name).payload.data == b"value"


def test_identity(bucket, identity):
    identity("reader")
    with pytest.raises(Exception, match="storage.objects.create"):
        storage.Client().bucket(bucket).blob("a").upload_from_string("x")


def test_unknown_identity_names_the_fixture_that_has_accounts(identity):
    with pytest.raises(pytest.fail.Exception, match="no account 'writer'.* cloud_config, in your"):
        identity("writer")


def test_job(job, tmp_path):
    file = tmp_path / "out"
    code = f"import os; open({str(file)!r}, 'w').write(os.environ['WORD'])"
    name = job("writer", "{python}", "-c", code, env={"WORD": "hello"})
    execution = run_v2.JobsClient().run_job(name=name).result(timeout=120)
    assert execution.succeeded_count == 1
    assert file.read_text() == "hello"


def test_service(service):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"private")

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = service(server.server_port)
    token = fetch_id_token(Request(), url)
    assert requests.get(url).status_code == 403
    assert requests.get(url, headers={"Authorization": f"Bearer {token}"}).text == "private"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("turn", [1, 2])
def test_mailbox(mailbox, turn):
    with smtplib.SMTP(mailbox.host, mailbox.port) as smtp:
        smtp.sendmail("a@example.org", ["b@example.org"], "Subject: Hello\\r\\n\\r\\nText")
    assert [each["Subject"] for each in mailbox.messages()] == ["Hello"]
"""
CONFTEST = """
import pytest
from dataclasses import replace
from devenv.gcp.cloud import OPEN_PROJECT


@pytest.fixture(scope="session")
def cloud_config():
    return replace(OPEN_PROJECT, accounts=("app", "reader"))
"""


# Each worker has a cloud of its own.
TEST_OF_WORKERS = """
import os

import pytest


@pytest.mark.parametrize("turn", [1, 2])
def test_each_worker_has_a_cloud(cloud, turn, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp().parent / "clouds"
    folder.mkdir(exist_ok=True)
    (folder / os.environ["PYTEST_XDIST_WORKER"]).write_text(str(cloud.bundle))
"""


def test_fixtures_work_in_another_project(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)

    assert "13 passed" in _run_tests(tmp_path)


def test_each_worker_of_another_project_has_its_own_cloud(tmp_path: Path) -> None:
    (tmp_path / "test_workers.py").write_text(TEST_OF_WORKERS)

    done = _run_tests(
        tmp_path, "-p", "xdist", "-n", "2", "--dist", "each", "--basetemp", f"{tmp_path}/made"
    )

    clouds = {file.name: file.read_text() for file in (tmp_path / "made" / "clouds").iterdir()}
    assert "4 passed" in done
    assert clouds.keys() == {"gw0", "gw1"}
    assert len({*clouds.values()}) == 2


def _run_tests(folder: Path, *options: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    # The processes below must not be taken for workers of this one.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "DJANGO_"))}  # noqa: TID251 - handed on
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "devenv.pytest_plugin", *options),
            *("--rootdir", str(folder), str(folder)),
        ],
        # The other plugins of this environment take longer to load than the tests.
        env=inherited | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    return done.stdout


def test_cloud_without_configuration_is_gone_at_the_end() -> None:
    code = (
        "from devenv.gcp import Cloud\n"
        "with Cloud() as cloud:\n"
        "    folder = cloud.bundle.parents[1]\n"
        "    assert cloud.environ('app')['GOOGLE_CLOUD_PROJECT'] == 'test-project'\n"
        "assert not folder.exists()\n"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
