"""Cloud Run Jobs as Google's own clients find them, in their usual gRPC form and over REST."""

# mypy: disable-error-code="no-untyped-call"

import json
import textwrap
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import run_v2
from google.longrunning import operations_pb2

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs
from tests.waiting import until

PLACE = "projects/validibot-local/locations/us-west1"
FMU = f"{PLACE}/jobs/validibot-validator-fmu"
ACCOUNT = "validator-fmu@validibot-local.iam.gserviceaccount.com"
LONG = 300  # seconds, against hangs
IMAGE = "validibot/validator-fmu:0.1.0"

type MakeJob = Callable[..., str]

WHO_AM_I = """
    import google.auth
    from google.auth.transport.requests import Request
    credentials, project = google.auth.default()
    credentials.refresh(Request())
    print("I am", credentials.service_account_email, "in", project)
"""


@pytest.fixture(params=["grpc", "rest"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def jobs(act_as: ActAs, transport: str) -> Iterator[run_v2.JobsClient]:
    act_as("admin")
    with run_v2.JobsClient(transport=transport) as client:
        yield client


@pytest.fixture
def executions(jobs: run_v2.JobsClient, transport: str) -> Iterator[run_v2.ExecutionsClient]:
    with run_v2.ExecutionsClient(transport=transport) as client:
        yield client


@pytest.fixture
def make_job(jobs: run_v2.JobsClient) -> Iterator[MakeJob]:
    """Make jobs that run Python source as their command."""
    made = []

    def make(source: str, **task: Any) -> str:
        command = ["python", "-c", textwrap.dedent(source)]
        container = run_v2.Container(image=IMAGE, command=command)
        fields = {"containers": [container], "service_account": ACCOUNT, "max_retries": 0} | task
        template = run_v2.ExecutionTemplate(template=run_v2.TaskTemplate(fields))
        job = run_v2.Job(template=template)
        operation = jobs.create_job(parent=PLACE, job=job, job_id=f"j-{uuid.uuid4().hex[:20]}")
        made.append(operation.result().name)
        return str(made[-1])

    yield make
    for name in made:
        jobs.delete_job(name=name).result()


def completed(execution: run_v2.Execution) -> run_v2.Condition:
    return next(each for each in execution.conditions if each.type_ == "Completed")


def until_running(client: run_v2.ExecutionsClient, name: str) -> None:
    until(lambda: client.get_execution(name=name).running_count)


def log_of(cloud: Cloud, execution: run_v2.Execution, task: str = "task0-0") -> str:
    short = execution.name.rsplit("/", 1)[-1]
    data = cloud.bundle.parents[1]
    return (data / "logs" / short / f"{task}.log").read_text()


def test_run_operation_ends_with_execution(jobs: run_v2.JobsClient, make_job: MakeJob) -> None:
    operation = jobs.run_job(name=make_job("pass"))
    assert operation.metadata.name.startswith(PLACE)

    execution = operation.result(timeout=LONG)
    assert execution.name == operation.metadata.name
    assert completed(execution).state == run_v2.Condition.State.CONDITION_SUCCEEDED
    assert (execution.succeeded_count, execution.task_count) == (1, 1)


def test_run_job_answers_before_container_starts(
    jobs: run_v2.JobsClient, make_job: MakeJob, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    operation = jobs.run_job(name=make_job(wait))

    assert not operation.done()
    assert not operation.metadata.completion_time
    go.touch()
    assert operation.result(timeout=LONG).succeeded_count == 1


def test_container_has_identity_of_its_job(
    jobs: run_v2.JobsClient, make_job: MakeJob, cloud: Cloud
) -> None:
    execution = jobs.run_job(name=make_job(WHO_AM_I)).result(timeout=LONG)

    assert log_of(cloud, execution) == f"I am {ACCOUNT} in validibot-local\n"


def test_overrides_reach_container(
    jobs: run_v2.JobsClient, make_job: MakeJob, cloud: Cloud
) -> None:
    name = make_job("import json, os, sys; print(json.dumps([sys.argv, dict(os.environ)]))")
    Overrides = run_v2.RunJobRequest.Overrides  # noqa: N806 - a class
    change = Overrides.ContainerOverride(args=["a", "b"], env=[run_v2.EnvVar(name="X", value="é")])
    overrides = Overrides(container_overrides=[change], task_count=2)
    request = run_v2.RunJobRequest(name=name, overrides=overrides)

    execution = jobs.run_job(request=request).result(timeout=LONG)
    argv, environ = json.loads(log_of(cloud, execution, "task1-0"))
    assert argv == ["-c", "a", "b"]
    assert (environ["X"], environ["CLOUD_RUN_TASK_INDEX"]) == ("é", "1")
    assert (environ["CLOUD_RUN_TASK_COUNT"], environ["CLOUD_RUN_JOB"]) == ("2", execution.job)


@pytest.mark.parametrize(
    ("source", "task", "error", "words"),
    [
        ("raise SystemExit(3)", {}, exceptions.Aborted, "3 and message: The container exited"),
        ("import os; os.abort()", {}, exceptions.Aborted, "A signal terminated the container."),
        (
            "import time; time.sleep(60)",
            {"timeout": {"seconds": 1}},
            exceptions.DeadlineExceeded,
            "The configured timeout was reached.",
        ),
    ],
    ids=["exit", "signal", "timeout"],
)
def test_failed_execution_is_error_of_operation(
    jobs: run_v2.JobsClient,
    make_job: MakeJob,
    source: str,
    task: Mapping[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    operation = jobs.run_job(name=make_job(source, **task))

    with pytest.raises(exceptions.GoogleAPICallError, match=words) as failure:
        operation.result(timeout=LONG)
    assert type(failure.value) is error


def test_cancel_execution_is_no_error(
    jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient, make_job: MakeJob
) -> None:
    operation = jobs.run_job(name=make_job("import time; time.sleep(60)"))
    until_running(executions, operation.metadata.name)

    executions.cancel_execution(name=operation.metadata.name).result(timeout=LONG)
    ended = operation.result(timeout=LONG)
    assert completed(ended).message == "Cancelled by user."
    reason = run_v2.Condition.ExecutionReason.CANCELLED
    assert (completed(ended).execution_reason, ended.cancelled_count) == (reason, 1)
    with pytest.raises(exceptions.GoogleAPICallError, match="because it is not running"):
        executions.cancel_execution(name=ended.name)


def test_retries_are_counted(jobs: run_v2.JobsClient, make_job: MakeJob, transport: str) -> None:
    source = "import os; raise SystemExit(os.environ['CLOUD_RUN_TASK_ATTEMPT'] < '2')"
    execution = jobs.run_job(name=make_job(source, max_retries=2)).result(timeout=LONG)

    with run_v2.TasksClient(transport=transport) as tasks:
        (task,) = tasks.list_tasks(parent=execution.name)
    assert (execution.succeeded_count, execution.retried_count, task.retried) == (1, 1, 2)
    assert task.max_retries == 2


def test_grpc_and_rest_return_same_execution(
    act_as: ActAs, config: CloudConfig, make_job: MakeJob
) -> None:
    name = make_job("pass")
    with run_v2.JobsClient() as grpc, run_v2.JobsClient(transport="rest") as rest:
        ended = grpc.run_job(name=name).result(timeout=LONG)
        assert grpc.get_job(name=name) == rest.get_job(name=name)
        listed = [job.name for job in grpc.list_jobs(parent=PLACE)]
        assert listed == [job.name for job in rest.list_jobs(parent=PLACE)]
    assert {f"{PLACE}/jobs/{job.name}" for job in config.jobs} <= set(listed)
    with run_v2.ExecutionsClient() as of, run_v2.ExecutionsClient(transport="rest") as rest_of:
        assert of.get_execution(name=ended.name) == rest_of.get_execution(name=ended.name) == ended


def test_operations_are_read_on_same_connection(jobs: run_v2.JobsClient, make_job: MakeJob) -> None:
    operation = jobs.run_job(name=make_job("pass"))
    name = operation.operation.name
    # The client of this version does not decode the answer to this one.
    jobs.wait_operation(operations_pb2.WaitOperationRequest(name=name), timeout=LONG)

    found = jobs.get_operation(operations_pb2.GetOperationRequest(name=name))
    assert found.done
    jobs.delete_operation(operations_pb2.DeleteOperationRequest(name=found.name))
    with pytest.raises(exceptions.NotFound):
        jobs.get_operation(operations_pb2.GetOperationRequest(name=found.name))


def test_declared_job_keeps_no_retries(jobs: run_v2.JobsClient) -> None:
    task = jobs.get_job(name=FMU).template.template

    assert (task.max_retries, task.service_account) == (0, ACCOUNT)


def test_run_permission_does_not_include_reading(act_as: ActAs, cloud: Cloud) -> None:
    act_as("validator-fmu")
    with run_v2.ExecutionsClient() as client, pytest.raises(exceptions.PermissionDenied) as refused:
        client.get_execution(name=f"{FMU}/executions/validibot-validator-fmu-abcde")

    assert "Permission 'run.executions.get' denied on resource" in refused.value.message
