"""Cloud Run Jobs with containers as tasks, tested with Google's client."""

# mypy: disable-error-code="no-untyped-call"

import json

import pytest
from google.cloud import run_v2

from tests.docker.jobs import ACCOUNT, IMAGE, VALIDATOR, Jobs, docker_cloud, jobs, network

__all__ = ["docker_cloud", "jobs", "network"]

HOARD = "x=bytearray(400 * 2**20)"
WAIT = "import time; print('here', flush=True); time.sleep(600)"


def test_execution_succeeds_and_names_image_digest(jobs: Jobs) -> None:
    execution = jobs.run("print('hello')")

    assert execution.succeeded_count == 1
    assert jobs.log(execution) == "hello\n"
    [image] = [container.image for container in execution.template.containers]
    assert image == f"python@{jobs.api.inspect_image(IMAGE)['Id']}"


def test_task_has_cloud_run_variables(jobs: Jobs) -> None:
    execution = jobs.run("import os, json; print(json.dumps(dict(os.environ)))")

    seen = json.loads(jobs.log(execution))
    assert seen["CLOUD_RUN_EXECUTION"] == execution.name.rsplit("/", 1)[-1]
    assert (seen["CLOUD_RUN_TASK_INDEX"], seen["CLOUD_RUN_TASK_COUNT"]) == ("0", "1")
    assert seen["GOOGLE_CLOUD_PROJECT"] == "validibot-local"


def test_overrides_reach_container(jobs: Jobs) -> None:
    overrides = {
        "container_overrides": [
            {
                "args": ["import os; print(os.environ['GIVEN'])"],
                "env": [{"name": "GIVEN", "value": "7"}],
            }
        ]
    }
    request = run_v2.RunJobRequest(name=jobs.make("pass"), overrides=overrides)
    execution = jobs.wait(jobs.client.run_job(request))

    assert jobs.log(execution) == "7\n"


def test_exit_code_is_reported_as_google_does(jobs: Jobs) -> None:
    assert (
        "failed with exit code: 3 and message: The container exited with an error."
        in jobs.error("raise SystemExit(3)")
    )


def test_signal_is_reported_as_google_does(jobs: Jobs) -> None:
    assert "A signal terminated the container." in jobs.error("import os; os.abort()")


@pytest.mark.parametrize(
    "source",
    [HOARD, f"import os; raise SystemExit(os.system('python3 -c \"{HOARD}\"') != 0)"],
    ids=["the task itself", "a child without which it fails"],
)
def test_memory_limit_is_reported_as_google_does(jobs: Jobs, source: str) -> None:
    assert "The configured memory limit was reached." in jobs.error(source)


def test_too_large_file_fills_disk(jobs: Jobs) -> None:
    full = "import shutil; print(shutil.disk_usage('/tmp').total // 2**20)"

    assert jobs.log(jobs.run(full, memory="256Mi")) == "128\n"


def test_task_over_timeout_is_stopped(jobs: Jobs) -> None:
    assert "The configured timeout was reached." in jobs.error(WAIT, timeout={"seconds": 1})


def test_failed_task_is_retried_in_new_container(jobs: Jobs) -> None:
    source = """
        import os
        print(os.uname().nodename)
        raise SystemExit(os.environ["CLOUD_RUN_TASK_ATTEMPT"] == "0")
    """
    execution = jobs.run(source, max_retries=1)

    assert (execution.succeeded_count, execution.retried_count) == (1, 1)
    assert jobs.log(execution) != jobs.log(execution, "task0-1") != ""


def test_cancel_stops_running_container(jobs: Jobs) -> None:
    operation = jobs.client.run_job(name=jobs.make(WAIT))
    jobs.until_it_says(operation.metadata, "here")
    with run_v2.ExecutionsClient(transport="rest") as executions:
        ended = jobs.wait(executions.cancel_execution(name=operation.metadata.name))

    assert ended.cancelled_count == 1


def test_missing_image_error_names_build_command(jobs: Jobs) -> None:
    assert "Image 'demo/none:1' not found. Build it, or fetch it: docker pull demo/none:1" in (
        jobs.error("pass", image="demo/none:1")
    )
    assert "Build it: make demo" in jobs.error("pass", image="demo/made:1")


ASK = """
    import os, urllib.request
    def ask(port, path, seconds=60):
        host = os.environ["GCE_METADATA_HOST"].partition(":")[0]
        url = f"http://{host}:{port}/computeMetadata/v1/instance/service-accounts/{path}"
        request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return direct.open(request, timeout=seconds).read().decode().strip()
        except OSError as error:
            return type(error).__name__
    own = os.environ["GCE_METADATA_HOST"].partition(":")[2]
"""


def test_metadata_server_gives_own_identity_only(jobs: Jobs) -> None:
    ports = json.loads((jobs.data / "endpoints.json").read_text())["metadata"]
    source = f"""{ASK}
    print(ask(own, "default/email"))
    print(ask(own, "web@validibot-local.iam.gserviceaccount.com/email"))
    print(ask({ports["web"]}, "default/email", seconds=2))
    """
    execution = jobs.run(source)

    assert jobs.log(execution).splitlines() == [ACCOUNT, "HTTPError", "URLError"]


def test_metadata_port_of_containers_refuses_other_callers(jobs: Jobs) -> None:
    execution = jobs.run("import os; print(os.environ['GCE_METADATA_HOST'])")
    host = jobs.log(execution).strip()
    own = f"""
        import urllib.request
        url = "http://{host}/computeMetadata/v1/instance/service-accounts/default/email"
        request = urllib.request.Request(url, headers={{"Metadata-Flavor": "Google"}})
        print(urllib.request.urlopen(request, timeout=60).read())
    """
    other_container = jobs.api.create_container(
        IMAGE,
        ["python3", "-c", "\n".join(line.strip() for line in own.splitlines())],
    )["Id"]
    try:
        jobs.api.start(other_container)
        jobs.api.wait(other_container)
        said = jobs.api.logs(other_container).decode()
    finally:
        jobs.api.remove_container(other_container, force=True)

    assert "HTTP Error 404" in said


def test_proxy_reaches_emulated_cloud_only(jobs: Jobs) -> None:
    source = """
        import os, urllib.request
        for url in ("https://example.com/", "http://127.0.0.1:22/", "https://localhost/"):
            request = urllib.request.Request(url)
            request.set_proxy(os.environ["https_proxy"].removeprefix("http://"), request.type)
            try:
                urllib.request.urlopen(request, timeout=60)
            except OSError as error:
                print(error)
    """
    lines = jobs.log(jobs.run(source)).splitlines()

    assert len(lines) == 3
    assert all("503" in line for line in lines)


def test_google_clients_work_unmodified(jobs: Jobs) -> None:
    source = """
        import google.auth.transport.requests, google.oauth2.id_token
        from google.cloud import storage
        token = google.oauth2.id_token.fetch_id_token(
            google.auth.transport.requests.Request(), "https://somewhere"
        )
        print(len(token.split(".")))
        blob = storage.Client().bucket("validibot-local").blob("jobs/hello.txt")
        blob.upload_from_string("hello")
        print(blob.download_as_text())
    """
    execution = jobs.run(source, image=VALIDATOR, memory="512Mi")

    assert jobs.log(execution).splitlines()[-2:] == ["3", "hello"]


def test_log_of_job_is_bounded(jobs: Jobs) -> None:
    execution = jobs.run("for _ in range(12_000): print('x' * 1023)")

    assert len(jobs.log(execution)) < 11 * 2**20


def test_finished_execution_leaves_no_container(jobs: Jobs) -> None:
    jobs.run("pass")

    jobs.until_nothing_is_left()
