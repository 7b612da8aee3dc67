"""The console over a running emulated cloud: its pages, and the rights of the developer there."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from google.cloud import iam_admin_v1, run_v2, scheduler_v1, secretmanager_v1, storage, tasks_v2

from devenv.gcp import Cloud
from devenv.pytest_plugin import ActAs
from tests.emulator.conftest import page_with
from tests.unit.devenv.console.console import ConsoleClient, write_state
from tests.waiting import until


def test_journal_page_filters_calls_and_shows_one(visitor: ConsoleClient, act_as: ActAs) -> None:
    act_as("guest")
    with pytest.raises(Exception, match="403"):
        storage.Client().bucket("validibot-local").blob("secret.txt").download_as_bytes()
    path = "/journal?caller=guest&method=objects.get&decision=denied"
    page = page_with(visitor, path, "secret.txt")

    assert "deliver" not in page
    number = page.split('href="/journal/')[2].split('"')[0]
    call = visitor.get(f"/journal/{number}").text
    assert "storage.objects.get" in call
    assert 'data-state="denied"' in call
    assert 'href="/iam/guest%40validibot-local.iam.gserviceaccount.com"' in call
    assert 'href="/faults?method=storage.objects.get"' in call


def test_journal_page_leaves_out_reading_of_the_console(visitor: ConsoleClient) -> None:
    visitor.get("/jobs")

    assert "No call matches" in visitor.get("/journal?caller=console&method=*.List*").text


def test_call_that_is_gone_returns_404(visitor: ConsoleClient) -> None:
    assert visitor.get("/journal/999999999").status_code == 404


def test_missing_page_lists_methods_that_are_not_emulated(
    visitor: ConsoleClient, cloud: Cloud
) -> None:
    headers = {"Host": "bigquery.googleapis.com"}
    httpx.get(
        f"{cloud.plain_url}/bigquery/v2/projects/p/datasets", headers=headers, trust_env=False
    )

    # A call is recorded when its answer has been sent.
    until(
        lambda: (
            "bigquery GET /bigquery/v2/projects/p/datasets" in visitor.get("/journal/missing").text
        )
    )


def test_cloud_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    write_state(tmp_path)
    client = ConsoleClient(tmp_path, cloud="http://127.0.0.1:9", cloud_data=tmp_path)
    client.sign_in()

    answer = client.get("/journal")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert 'http-equiv="refresh"' in answer.text


@pytest.fixture
def queue(cloud: Cloud, act_as: ActAs) -> Iterator[str]:
    """Return the full name of a paused queue that the test has for itself."""
    act_as("admin")
    place = f"projects/{cloud.config.project}/locations/{cloud.config.region}"
    name = f"{place}/queues/console-{uuid4().hex}"
    with tasks_v2.CloudTasksClient() as client:
        client.create_queue(parent=place, queue=tasks_v2.Queue(name=name))
        client.pause_queue(name=name)
        yield name
        client.delete_queue(name=name)


def _page_of(queue: str) -> str:
    return f"/tasks/{queue.rpartition('/')[2]}"


def _add_task(queue: str, name: str, **headers: str) -> None:
    task = tasks_v2.Task(
        name=f"{queue}/tasks/{name}",
        http_request=tasks_v2.HttpRequest(
            url="https://validibot-worker-123456789012.us-west1.run.app/",
            headers={"X-Colour": "<green>", **headers},
            body=b"the body",
        ),
    )
    with tasks_v2.CloudTasksClient() as client:
        client.create_task(parent=queue, task=task)


def test_task_pages_show_depth_headers_and_body(visitor: ConsoleClient, queue: str) -> None:
    _add_task(queue, "first")
    page = _page_of(queue)
    queues, tasks = visitor.get("/tasks").text, visitor.get(page).text
    task = visitor.get(f"{page}/tasks/first").text

    own = queues[queues.index(f'href="{page}"') :]
    assert 'data-state="paused"' in own
    assert "at most 1 in ten minutes" in own
    assert f"{page}/tasks/first" in tasks
    assert "&lt;green&gt;" in task
    assert "the body" in task


def test_task_is_run_and_deleted_in_the_console(visitor: ConsoleClient, queue: str) -> None:
    _add_task(queue, "second")
    page = _page_of(queue)
    task = f"{page}/tasks/second"
    assert "is sent now" in visitor.act(f"{task}/run", next=page)
    until(lambda: "Last answer" in visitor.get(task).text)
    assert "deleted" in visitor.act(f"{task}/delete", next=page)

    assert visitor.get(task).status_code == 404
    assert "was not found" in visitor.act(f"{task}/run", next=page)


def test_unknown_queue_and_command_return_404(visitor: ConsoleClient) -> None:
    assert visitor.get("/tasks/nothing").status_code == 404
    assert "is not one of pause" in visitor.act("/tasks/runs/explode")


def test_execution_is_run_shown_cancelled_and_rerun(visitor: ConsoleClient) -> None:
    visitor.act("/jobs/sleeper/run", next="/jobs/sleeper")
    job = visitor.get("/jobs/sleeper").text
    execution = f"/jobs/sleeper/executions/{re.search(r'sleeper-[a-z0-9]{5}', job)[0]}"  # type: ignore[index]
    until(lambda: 'data-state="running"' in visitor.get(execution).text)
    assert "sleeper" in visitor.get("/jobs").text
    assert "is being cancelled" in visitor.act(f"{execution}/cancel", next=execution)
    until(lambda: 'data-state="cancelled"' in visitor.get(execution).text)

    rerun = visitor.act(f"{execution}/rerun", next="/jobs/sleeper")
    assert "started with what" in rerun
    again = re.findall(r'executions/(sleeper-[a-z0-9]{5})"', visitor.get("/jobs/sleeper").text)
    visitor.act(f"/jobs/sleeper/executions/{again[0]}/cancel")
    assert len(set(again)) >= 2


def test_execution_page_has_the_log_and_hides_secrets(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    act_as("admin")
    name = f"projects/{cloud.config.project}/locations/{cloud.config.region}/jobs/sleeper"
    override = run_v2.RunJobRequest.Overrides.ContainerOverride(
        env=[{"name": "API_TOKEN", "value": "12345678"}, {"name": "COLOUR", "value": "green"}]
    )
    overrides = run_v2.RunJobRequest.Overrides(container_overrides=[override])
    with run_v2.JobsClient() as client:
        client.run_job(run_v2.RunJobRequest(name=name, overrides=overrides))
    found = re.search(r"sleeper-[a-z0-9]{5}", visitor.get("/jobs/sleeper").text)
    assert found
    log = cloud.data / "logs" / found[0] / "task0-0.log"
    until(log.exists)
    log.write_text("ERROR: <late>\n")
    page = visitor.get(f"/jobs/sleeper/executions/{found[0]}").text
    visitor.act(f"/jobs/sleeper/executions/{found[0]}/cancel")

    assert '<div data-level="error">ERROR: &lt;late&gt;</div>' in page
    assert "green" in page
    assert "12345678" not in page


def test_object_is_uploaded_shown_downloaded_and_deleted(visitor: ConsoleClient) -> None:
    bucket, content = "/storage/validibot-local", "<b>Grüße</b>".encode()
    files = {"file": ("a b.txt", content, "text/html")}
    visitor.post(f"{bucket}/upload", {"prefix": "new/dir/"}, files=files)
    for sent, name, expected in (("x%22y.txt", "", "x&#34;y.txt"), ("z", "deep/n.txt", "deep/")):
        visitor.post(
            f"{bucket}/upload", {"prefix": "odd/", "name": name}, files={"file": (sent, b"")}
        )
        assert expected in visitor.get(f"{bucket}?prefix=odd/").text
    assert "(empty)" in visitor.get(f"{bucket}/object?name=odd/deep/n.txt").text

    assert "new/" in visitor.get(bucket).text
    assert "uniformBucketLevelAccess" in visitor.get(bucket).text
    assert "a b.txt" in visitor.get(f"{bucket}?prefix=new/dir/").text
    page = visitor.get(f"{bucket}/object?name=new/dir/a%20b.txt").text
    assert "&lt;b&gt;Grüße&lt;/b&gt;" in page
    answer = visitor.get(f"{bucket}/download?name=new/dir/a%20b.txt")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b.txt"
    assert visitor.get(f"{bucket}/image?name=new/dir/a%20b.txt").status_code == 404
    assert "deleted" in visitor.act(f"{bucket}/delete", name="new/dir/a b.txt")
    assert visitor.get(f"{bucket}/object?name=new/dir/a%20b.txt").status_code == 404


def test_upload_without_file_names_the_field(visitor: ConsoleClient) -> None:
    assert visitor.act("/storage/validibot-local/upload").startswith("file:")


def test_faults_do_not_strike_the_console(visitor: ConsoleClient, cloud: Cloud) -> None:
    url = f"{cloud.plain_url}/_devenv/faults"
    headers = {"Authorization": f"Bearer {cloud.control_token}"}
    wanted = {"method": "storage.*", "status": 503, "times": 100}
    httpx.post(url, json=wanted, headers=headers, trust_env=False)
    answer = visitor.get("/storage/validibot-local")
    httpx.delete(url, headers=headers, trust_env=False)

    assert answer.status_code == 200


def test_value_of_a_secret_is_shown_for_a_click_only(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    act_as("admin")
    with secretmanager_v1.SecretManagerServiceClient() as client:
        secret = client.create_secret(
            parent=f"projects/{cloud.config.project}",
            secret_id="console-key",
            secret=secretmanager_v1.Secret(replication={"automatic": {}}),
        )
        payload = secretmanager_v1.SecretPayload(data=b"<the value>")
        client.add_secret_version(parent=secret.name, payload=payload)
    page = visitor.get("/secrets/console-key").text

    assert "console-key" in visitor.get("/secrets").text
    assert "the value" not in page
    shown = visitor.post("/secrets/console-key/versions/1/show")
    assert "&lt;the value&gt;" in shown.text
    again = visitor.get("/secrets/console-key/versions/1/show")
    assert again.headers["location"] == "/secrets/console-key"
    assert page_with(visitor, "/journal?caller=console", "AccessSecretVersion")


def test_schedule_is_paused_run_and_resumed(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    act_as("admin")
    parent = f"projects/{cloud.config.project}/locations/{cloud.config.region}"
    target = scheduler_v1.HttpTarget(uri="http://localhost:9/")
    job = scheduler_v1.Job(name=f"{parent}/jobs/tidy", schedule="0 0 1 1 *", http_target=target)
    with scheduler_v1.CloudSchedulerClient() as client:
        client.create_job(parent=parent, job=job)
    assert visitor.act("/schedules/tidy/pause", next="/schedules") == "tidy paused."
    assert 'data-state="paused"' in visitor.get("/schedules").text
    assert visitor.act("/schedules/tidy/resume", next="/schedules") == "tidy resumed."
    assert visitor.act("/schedules/tidy/run", next="/schedules") == "tidy runs now."
    assert "is not one of run" in visitor.act("/schedules/tidy/explode")


def test_fault_is_added_and_removed(visitor: ConsoleClient) -> None:
    added = visitor.act("/faults/add", method="storage.objects.insert", effect="503", times="2")
    number = re.findall(r"\d+", added)[0]
    page = visitor.get("/faults").text
    assert f'href="/journal?fault={number}"' in page
    assert "answer 503" in page

    assert visitor.act("/faults/remove", id=number) == "1 removed."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"method": "nothing.at.all", "effect": "503"}, "matches nothing"),
        ({"method": "storage.*", "effect": "503", "delay": "soon"}, "delay is 'soon'"),
        ({"method": "storage.*", "effect": "", "times": "1"}, "needs a delay"),
        ({"method": "storage.*", "effect": "reset", "times": "0.5"}, "times"),
    ],
)
def test_wrong_fault_names_its_field(
    visitor: ConsoleClient, fields: dict[str, str], text: str
) -> None:
    assert text in html.unescape(visitor.act("/faults/add", **fields))


def test_clock_page_turns_forward_and_resets(visitor: ConsoleClient) -> None:
    assert "in the emulated cloud now" in visitor.act("/clock/advance", by="10m")
    page = visitor.get("/clock").text
    assert "0:10:00" in page
    assert "Clock: 0:10:00 ahead" in visitor.get("/tasks").text
    assert "forward only" in visitor.act("/clock/set", to="2001-01-01")
    assert "is not a duration" in visitor.act("/clock/advance", by="soon")

    assert "time of this machine again" in visitor.act("/clock/reset")
    assert "not at all" in visitor.get("/clock").text
    assert "ahead</a>" not in visitor.get("/tasks").text


def test_iam_page_explains_a_refusal(visitor: ConsoleClient, act_as: ActAs) -> None:
    act_as("stranger")  # to which no other test gives roles
    with pytest.raises(Exception, match="403"):
        storage.Client().bucket("validibot-local").blob("private.txt").download_as_bytes()
    line = '{ member = "stranger", role = "roles/storage.legacyObjectReader", resource = "bucket/validibot-local" }'
    page = page_with(visitor, "/iam", line)
    account = visitor.get("/iam/stranger@validibot-local.iam.gserviceaccount.com").text

    assert "storage.objects.get" in page
    assert "It has no role." in account


def test_account_page_lists_used_permissions_and_roles(
    visitor: ConsoleClient, act_as: ActAs
) -> None:
    act_as("launcher")
    blob = storage.Client().bucket("validibot-local").blob("of-launcher.txt")
    blob.upload_from_string("x")
    account = "/iam/launcher@validibot-local.iam.gserviceaccount.com"
    page = page_with(visitor, account, "storage.objects.create")

    assert "roles/storage.objectUser" in page
    assert "permissions of its roles that it never used" in page
    assert visitor.get("/iam/nobody").status_code == 404


def test_delivery_is_part_of_the_trace_of_its_task(visitor: ConsoleClient, queue: str) -> None:
    trace, page = uuid4().hex, _page_of(queue)
    _add_task(queue, f"traced-{trace}", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    visitor.act(f"{page}/tasks/traced-{trace}/run", next=page)

    until(lambda: "<strong>deliver</strong>" in visitor.get(f"/traces/{trace}").text)


def test_run_pages_show_services_callers_and_revisions(visitor: ConsoleClient) -> None:
    listed = visitor.get("/run").text
    page = visitor.get("/run/validibot-worker").text

    assert 'href="/run/validibot-worker"' in listed
    assert "worker@validibot-local.iam.gserviceaccount.com" in page
    assert 'title="tasks@validibot-local.iam.gserviceaccount.com">tasks</a>' in page
    assert "100 %" in page
    assert "The process that devenv.toml declares" in page
    assert visitor.get("/run/missing").status_code == 404


def test_instance_of_a_service_is_shown_and_stopped(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    act_as("admin")
    place = f"projects/{cloud.config.project}/locations/{cloud.config.region}"
    container = run_v2.Container(image="echo-server:1")
    service = run_v2.Service(template=run_v2.RevisionTemplate(containers=[container]))
    with run_v2.ServicesClient() as client:
        made: Any = client.create_service(parent=place, service=service, service_id="shown")
        made.result(60)
        page = visitor.get("/run/shown").text
        stop = html.unescape(re.findall(r'action="(/run/shown/instances/[^"]+/stop)"', page)[0])
        assert "512Mi of memory" in page
        assert "labels.instanceId" in page
        assert "is being stopped" in visitor.act(stop, next="/run/shown")
        ended = page_with(visitor, "/run/shown", "stopped, signal 15")
        assert f'action="{stop}"' not in ended
        assert "No instance" in visitor.act(stop, next="/run/shown")
        client.delete_service(name=f"{place}/services/shown")


def test_iam_page_lists_custom_roles(visitor: ConsoleClient, act_as: ActAs) -> None:
    act_as("admin")
    role = iam_admin_v1.Role(title="Looks at files", included_permissions=["storage.objects.get"])
    client = iam_admin_v1.IAMClient()
    request = {"parent": "projects/validibot-local", "role_id": "looker", "role": role}
    client.create_role(request)

    page = visitor.get("/iam").text

    assert "Looks at files" in page
    assert "looker" in page
    client.delete_role(request={"name": "projects/validibot-local/roles/looker"})
