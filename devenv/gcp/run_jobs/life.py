"""The life of an execution and of its tasks: how their records begin, change and end.

Conditions carry Cloud Run's own messages, which clients and people read. An attempt's end is
judged once (`judge`): cancelled, lost, out of memory, past its timeout, killed by a signal, or the
container's exit code. An attempt past its timeout is DEADLINE_EXCEEDED in the operation and
"The configured timeout was reached." in the execution's condition.
"""

import uuid
from dataclasses import dataclass
from urllib.parse import quote

from devenv.gcp.errors import Aborted, DeadlineExceeded, Internal, ResourceExhausted
from devenv.gcp.messages import moment, set_moment
from devenv.gcp.run_jobs.resources import (
    GA,
    CommonReason,
    CompletionStatus,
    Condition,
    Execution,
    ExecutionReason,
    Pb,
    Severity,
    State,
    Task,
    TaskAttemptResult,
    touch,
)
from devenv.gcp.run_jobs.runtimes.base import AttemptExit

COMPLETED = "Completed"
STARTED = "Started"

WAITING_TO_COMPLETE = "Waiting for execution to complete."
WAITING_TO_START = "Waiting for execution to start."
PROVISIONED = "Provisioned imported containers."
RETRY = "System will retry after 30:00 from lastTransitionTime for polling interval"
CANCELLING = "Cancelling execution."
CANCELLED = "Cancelled by user."


def find(record: Pb, kind: str) -> Pb | None:
    """Return the condition `kind` of a record, or None."""
    return next((each for each in record.conditions if each.type_ == kind), None)


def put(
    record: Pb,
    kind: str,
    state: int,
    message: str,
    *,
    now: float,
    reason: int | None = None,
) -> None:
    """Set the condition `kind`; its transition time moves only when its state does.

    `reason` is an ExecutionReason or a CommonReason.
    """
    condition = find(record, kind)
    if condition is None:
        condition = record.conditions.add(type_=kind)
    changed = condition.state != state
    since = now if changed else moment(condition.last_transition_time)
    severity = Severity.INFO if kind == "Retry" else Severity.SEVERITY_UNSPECIFIED
    condition.CopyFrom(Condition(type_=kind, state=state, message=message, severity=severity))
    set_moment(condition.last_transition_time, since)
    if isinstance(reason, ExecutionReason):
        condition.execution_reason = reason
    elif reason is not None:
        condition.reason = reason


def go_duration(seconds: float) -> str:
    """Format seconds as Go does, to the hundredth: `38.22s`, `1m3.6s`, `1h0m2s`, `220ms`."""
    hundredths = max(0, round(seconds * 100))
    if 0 < hundredths < 100:
        return f"{hundredths * 10}ms"
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 100:.2f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


OK_CODE = 0
CANCELLED_CODE = 1  # google.rpc.Code


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """`status` is a google.rpc.Code; `exit_code` and `signal` are never both set."""

    status: int
    message: str = ""
    exit_code: int = 0
    signal: int = 0

    @property
    def succeeded(self) -> bool:
        return self.status == OK_CODE

    @property
    def cancelled(self) -> bool:
        return self.status == CANCELLED_CODE

    def result(self) -> Pb:
        result = TaskAttemptResult(exit_code=self.exit_code, term_signal=self.signal)
        result.status.code = self.status
        result.status.message = self.message
        return result


NEVER_RAN = AttemptOutcome(CANCELLED_CODE, "Cancelled by user.")


def judge(ended: AttemptExit, *, cancelling: bool) -> AttemptOutcome:
    """Turn the end of a container into an outcome.

    A container that ended before the cancellation or the timeout reached it keeps its result.
    """
    stopped = ended.terminated or ended.lost
    causes = (
        (stopped and cancelling, CANCELLED_CODE, "Cancelled by user."),
        (ended.lost, Internal.code, "Internal error."),
        (ended.out_of_memory, ResourceExhausted.code, "The configured memory limit was reached."),
        (ended.terminated, DeadlineExceeded.code, "The configured timeout was reached."),
        (ended.signal, Aborted.code, "A signal terminated the container."),
        (ended.code, Aborted.code, "The container exited with an error."),
    )
    for applies, status, message in causes:
        if applies:
            code = ended.code if status == Aborted.code else 0
            return AttemptOutcome(status, message, code, ended.signal)
    return AttemptOutcome(OK_CODE)


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
    put(execution, COMPLETED, State.CONDITION_PENDING, WAITING_TO_COMPLETE, now=now)
    put(execution, STARTED, State.CONDITION_PENDING, WAITING_TO_START, now=now)
    put(
        execution,
        "Retry",
        State.CONDITION_SUCCEEDED,
        RETRY,
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
    put(task, COMPLETED, State.CONDITION_PENDING, "Waiting for task to complete.", now=now)
    put(task, STARTED, State.CONDITION_PENDING, "Waiting for task to start.", now=now)
    touch(task, now)
    return task


def start_execution(execution: Pb, *, now: float) -> None:
    """Note that the image is there and the first task starts."""
    since = go_duration(now - moment(execution.create_time))
    good = State.CONDITION_SUCCEEDED
    put(execution, "ResourcesAvailable", good, PROVISIONED, now=now)
    put(execution, "ContainerReady", good, f"Imported container image in {since}.", now=now)
    put(execution, STARTED, good, f"Started deployed execution in {since}.", now=now)
    put(execution, COMPLETED, State.CONDITION_RECONCILING, WAITING_TO_COMPLETE, now=now)
    set_moment(execution.start_time, now)
    touch(execution, now)


def start_attempt(task: Pb, *, now: float) -> None:
    """Note an attempt; `scheduled_time` is where its timeout counts from."""
    set_moment(task.scheduled_time, now)
    if not task.HasField("start_time"):
        set_moment(task.start_time, now)
        put(task, STARTED, State.CONDITION_SUCCEEDED, "Started task.", now=now)
        message = "Waiting for task to complete."
        put(task, COMPLETED, State.CONDITION_RECONCILING, message, now=now)
    touch(task, now)


def end_task(task: Pb, outcome: AttemptOutcome, *, now: float) -> None:
    """Note the last attempt of a task."""
    task.last_attempt_result.CopyFrom(outcome.result())
    if outcome.succeeded:
        since = go_duration(now - moment(task.create_time))
        message = f"Task completed successfully in {since}."
        put(task, COMPLETED, State.CONDITION_SUCCEEDED, message, now=now)
    elif outcome.cancelled:
        reason = ExecutionReason.CANCELLED
        put(task, COMPLETED, State.CONDITION_FAILED, CANCELLED, now=now, reason=reason)
    else:
        reason = ExecutionReason.NON_ZERO_EXIT_CODE
        put(task, COMPLETED, State.CONDITION_FAILED, verdict(task), now=now, reason=reason)
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
        COMPLETED,
        State.CONDITION_RECONCILING,
        CANCELLING,
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
    _complete(execution, State.CONDITION_FAILED, CANCELLED, reason, now=now)


def miss_container(execution: Pb, image: str, *, hint: str, now: float) -> str:
    """End an execution whose image nobody has; return what it says."""
    message = f"Image '{image}' not found. {hint}"
    reason = CommonReason.CONTAINER_MISSING
    put(execution, "ContainerReady", State.CONDITION_FAILED, message, now=now, reason=reason)
    _complete(execution, State.CONDITION_FAILED, message, reason, now=now)
    return message


def is_cancelling(execution: Pb) -> bool:
    completed = find(execution, COMPLETED)
    return completed is not None and completed.execution_reason == ExecutionReason.CANCELLING


def is_done(record: Pb) -> bool:
    return bool(record.HasField("completion_time"))


def completion_status(execution: Pb) -> Pb:
    """Return how a job's `latest_created_execution` tells the state of this one."""
    completed = find(execution, COMPLETED)
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
    put(execution, COMPLETED, state, message, now=now, reason=reason)
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
