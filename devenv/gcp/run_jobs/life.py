"""The life of an execution and of its tasks: how their records begin, change and end."""

import uuid
from urllib.parse import quote

from devenv.gcp.messages import moment, set_moment
from devenv.gcp.run_jobs import conditions as cond
from devenv.gcp.run_jobs.conditions import go_duration, put
from devenv.gcp.run_jobs.messages import (
    GA,
    CommonReason,
    CompletionStatus,
    Execution,
    ExecutionReason,
    Pb,
    State,
    Task,
    touch,
)
from devenv.gcp.run_jobs.outcome import Outcome


def new_execution(job: Pb, template: Pb, *, name: str, creator: str, now: float) -> Pb:
    """Return the execution that runs `job` by `template`: the job's own, overrides applied."""
    execution = Execution(
        name=name,
        uid=str(uuid.uuid4()),
        creator=creator,
        generation=1,
        observed_generation=1,
        labels=template.labels,
        annotations=template.annotations,
        launch_stage=GA,
        job=job.name.rsplit("/", 1)[-1],
        parallelism=min(template.parallelism or template.task_count, template.task_count),
        task_count=template.task_count,
        template=template.template,
        reconciling=True,
        log_uri=_log_uri(name),
    )
    set_moment(execution.create_time, now)
    put(execution, cond.COMPLETED, State.CONDITION_PENDING, cond.WAITING_TO_COMPLETE, now=now)
    put(execution, cond.STARTED, State.CONDITION_PENDING, cond.WAITING_TO_START, now=now)
    put(
        execution,
        "Retry",
        State.CONDITION_SUCCEEDED,
        cond.RETRY,
        now=now,
        reason=CommonReason.WAITING_FOR_OPERATION,
    )
    touch(execution, now)
    return execution


def new_task(execution: Pb, index: int) -> Pb:
    """Return the task `index` of an execution."""
    short = execution.name.rsplit("/", 1)[-1]
    template = execution.template
    task = Task(
        name=f"{execution.name}/tasks/{short}-task{index}",
        uid=str(uuid.uuid4()),
        generation=1,
        observed_generation=1,
        labels=execution.labels,
        create_time=execution.create_time,
        scheduled_time=execution.create_time,
        job=execution.job,
        execution=short,
        containers=template.containers,
        volumes=template.volumes,
        max_retries=template.max_retries,
        timeout=template.timeout,
        service_account=template.service_account,
        execution_environment=template.execution_environment,
        reconciling=True,
        index=index,
        log_uri=execution.log_uri,
    )
    now = moment(execution.create_time)
    put(task, cond.COMPLETED, State.CONDITION_PENDING, "Waiting for task to complete.", now=now)
    put(task, cond.STARTED, State.CONDITION_PENDING, "Waiting for task to start.", now=now)
    touch(task, now)
    return task


def start_execution(execution: Pb, *, now: float) -> None:
    """Note that the image is there and the first task starts."""
    since = go_duration(now - moment(execution.create_time))
    good = State.CONDITION_SUCCEEDED
    put(execution, "ResourcesAvailable", good, cond.PROVISIONED, now=now)
    put(execution, "ContainerReady", good, f"Imported container image in {since}.", now=now)
    put(execution, cond.STARTED, good, f"Started deployed execution in {since}.", now=now)
    put(execution, cond.COMPLETED, State.CONDITION_RECONCILING, cond.WAITING_TO_COMPLETE, now=now)
    set_moment(execution.start_time, now)
    touch(execution, now)


def start_attempt(task: Pb, *, now: float) -> None:
    """Note an attempt; `scheduled_time` is where its timeout counts from."""
    set_moment(task.scheduled_time, now)
    if not task.HasField("start_time"):
        set_moment(task.start_time, now)
        put(task, cond.STARTED, State.CONDITION_SUCCEEDED, "Started task.", now=now)
        message = "Waiting for task to complete."
        put(task, cond.COMPLETED, State.CONDITION_RECONCILING, message, now=now)
    touch(task, now)


def end_task(task: Pb, outcome: Outcome, *, now: float) -> None:
    """Note the last attempt of a task."""
    task.last_attempt_result.CopyFrom(outcome.result())
    if outcome.succeeded:
        since = go_duration(now - moment(task.create_time))
        message = f"Task completed successfully in {since}."
        put(task, cond.COMPLETED, State.CONDITION_SUCCEEDED, message, now=now)
    elif outcome.cancelled:
        reason = ExecutionReason.CANCELLED
        put(task, cond.COMPLETED, State.CONDITION_FAILED, cond.CANCELLED, now=now, reason=reason)
    else:
        reason = ExecutionReason.NON_ZERO_EXIT_CODE
        put(task, cond.COMPLETED, State.CONDITION_FAILED, verdict(task), now=now, reason=reason)
    task.reconciling = False
    set_moment(task.completion_time, now)
    touch(task, now)


def verdict(task: Pb) -> str:
    """Return the sentence in which an execution tells of the task that failed it."""
    short, result = task.name.rsplit("/", 1)[-1], task.last_attempt_result
    code, message = result.exit_code, result.status.message
    return f"Task {short} failed with exit code: {code} and message: {message}"


def begin_cancel(execution: Pb, *, now: float) -> None:
    """Note that a user wants it to end; real executions then show generation 2."""
    execution.generation += 1
    execution.observed_generation = execution.generation
    put(
        execution,
        cond.COMPLETED,
        State.CONDITION_RECONCILING,
        cond.CANCELLING,
        now=now,
        reason=ExecutionReason.CANCELLING,
    )
    touch(execution, now)


def succeed(execution: Pb, *, now: float) -> None:
    since = go_duration(now - moment(execution.create_time))
    message = f"Execution completed successfully in {since}."
    _complete(execution, State.CONDITION_SUCCEEDED, message, None, now=now)


def fail(execution: Pb, message: str, *, now: float) -> None:
    reason = ExecutionReason.NON_ZERO_EXIT_CODE
    _complete(execution, State.CONDITION_FAILED, message, reason, now=now)


def cancel(execution: Pb, *, now: float) -> None:
    reason = ExecutionReason.CANCELLED
    _complete(execution, State.CONDITION_FAILED, cond.CANCELLED, reason, now=now)


def miss_container(execution: Pb, image: str, *, hint: str, now: float) -> str:
    """End an execution whose image nobody has; return what it says."""
    message = f"Image '{image}' not found. {hint}"
    reason = CommonReason.CONTAINER_MISSING
    put(execution, "ContainerReady", State.CONDITION_FAILED, message, now=now, reason=reason)
    _complete(execution, State.CONDITION_FAILED, message, reason, now=now)
    return message


def is_cancelling(execution: Pb) -> bool:
    completed = cond.find(execution, cond.COMPLETED)
    return completed is not None and completed.execution_reason == ExecutionReason.CANCELLING


def is_done(record: Pb) -> bool:
    return bool(record.HasField("completion_time"))


def completion_status(execution: Pb) -> int:
    """Return how a job's `latest_created_execution` tells the state of this one."""
    completed = cond.find(execution, cond.COMPLETED)
    if completed is None or not is_done(execution):
        started = execution.HasField("start_time")
        return CompletionStatus.EXECUTION_RUNNING if started else CompletionStatus.EXECUTION_PENDING
    if completed.execution_reason == ExecutionReason.CANCELLED:
        return CompletionStatus.EXECUTION_CANCELLED
    if completed.state == State.CONDITION_SUCCEEDED:
        return CompletionStatus.EXECUTION_SUCCEEDED
    return CompletionStatus.EXECUTION_FAILED


def _complete(
    execution: Pb,
    state: int,
    message: str,
    reason: int | None,
    *,
    now: float,
) -> None:
    put(execution, cond.COMPLETED, state, message, now=now, reason=reason)
    execution.reconciling = False
    set_moment(execution.completion_time, now)
    touch(execution, now)


def _log_uri(name: str) -> str:
    """Return the page of the Cloud Console that shows the logs of an execution."""
    _, project, _, region, _, job, _, short = name.split("/")
    query = (
        'resource.type="cloud_run_job"\n'
        f'resource.labels.job_name="{job}"\n'
        f'resource.labels.location="{region}"\n'
        f'labels."run.googleapis.com/execution_name"="{short}"'
    )
    page = "https://console.cloud.google.com/logs/viewer"
    return f"{page}?project={project}&advancedFilter={quote(query, safe='')}"
