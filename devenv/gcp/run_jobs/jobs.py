"""Job definitions: validation, Google's defaults, overrides, and the jobs of devenv.toml.

Every accepted field has an effect. Fields that the runtimes cannot honour (sidecars, VPC access,
probes, GPUs) are refused by name.
"""

import re
import uuid

from devenv.gcp.config import CloudConfig, JobConfig as Declared
from devenv.gcp.errors import Unimplemented
from devenv.gcp.messages import every, refuse_unemulated, seconds, set_moment
from devenv.gcp.run_jobs.containers import (
    CONTAINER,
    ENV,
    VOLUME,
    VPC,
    CheckEgress,
    bad,
    check_variables,
    check_volumes,
    complete_container,
)
from devenv.gcp.run_jobs.resources import GA, GEN2, Job, Operation, Pb, RunNames, State, touch

RESERVED = frozenset(
    {
        "CLOUD_RUN_JOB",
        "CLOUD_RUN_EXECUTION",
        "CLOUD_RUN_TASK_INDEX",
        "CLOUD_RUN_TASK_ATTEMPT",
        "CLOUD_RUN_TASK_COUNT",
    }
)
_FIELDS = every(
    *("labels", "annotations", "parallelism", "task_count"),
    template=every(
        *("max_retries", "timeout", "service_account", "execution_environment"),
        containers=CONTAINER,
        volumes=VOLUME,
        vpc_access=VPC,
    ),
)
_OVERRIDES = every(
    *("task_count", "timeout"),
    container_overrides=every(*("name", "args", "clear_args"), env=ENV),
)
DEFAULT_RETRIES = 3
DEFAULT_TIMEOUT = 600

_MOST_RETRIES = 10
_MOST_TASKS = 10_000
_LONGEST_TIMEOUT = 168 * 3600
_JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_TOKEN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def check_job_id(job_id: str) -> None:
    """Refuse an id whose executions could not be named: fewer than 50 characters, a DNS label."""
    if not _JOB_ID.fullmatch(job_id):
        raise bad(
            "job_id",
            "only lowercase letters, digits and hyphens; must begin with a letter, "
            "must not end with a hyphen, must be less than 50 characters",
        )


def check_token(job_id: str, token: str) -> None:
    """Refuse an execution token that makes too long or no name; see Job.start_execution_token."""
    if not _TOKEN.fullmatch(token) or len(job_id) + len(token) >= 63:
        raise bad("job.start_execution_token", "the job's name and it must make a DNS label")


def complete(template: Pb) -> None:
    """Check a job's ExecutionTemplate and fill in what it leaves open. Raises InvalidArgument."""
    where = "job.template"
    refuse_unemulated(template, _FIELDS, where=where)
    template.task_count = template.task_count or 1
    _check_count(f"{where}.task_count", template.task_count)
    if template.parallelism < 0:
        raise bad(f"{where}.parallelism", "must not be negative")
    task = template.template
    # 0 means "never again"; only an absent value means Google's default.
    if not task.HasField("max_retries"):
        task.max_retries = DEFAULT_RETRIES
    if not 0 <= task.max_retries <= _MOST_RETRIES:
        raise bad(f"{where}.template.max_retries", f"must be between 0 and {_MOST_RETRIES}")
    if not task.HasField("timeout"):
        task.timeout.FromSeconds(DEFAULT_TIMEOUT)
    _check_timeout(f"{where}.template.timeout", task.timeout)
    task.execution_environment = task.execution_environment or GEN2
    if not task.containers:
        raise bad(f"{where}.template.containers", "must contain one container")
    if len(task.containers) > 1:
        raise Unimplemented(f"{where}.template.containers: sidecars are not emulated.")
    complete_container(f"{where}.template.containers[0]", task.containers[0], RESERVED)
    check_volumes(f"{where}.template", task)


def override(template: Pb, overrides: Pb) -> None:
    """Apply a RunJobRequest's overrides to a copy of the job's ExecutionTemplate.

    Arguments replace, `clear_args` empties, variables merge by name; see RunJobRequest.Overrides.
    """
    refuse_unemulated(overrides, _OVERRIDES, where="overrides")
    if overrides.task_count:
        _check_count("overrides.task_count", overrides.task_count)
        template.task_count = overrides.task_count
    if overrides.HasField("timeout"):
        _check_timeout("overrides.timeout", overrides.timeout)
        template.template.timeout.CopyFrom(overrides.timeout)
    for index, change in enumerate(overrides.container_overrides):
        where = f"overrides.container_overrides[{index}]"
        container = _find(where, template.template.containers, change.name)
        if change.clear_args or change.args:
            del container.args[:]
        if change.args and not change.clear_args:
            container.args.extend(change.args)
        _merge(container.env, change.env)
        check_variables(where, container.env, RESERVED)


def _merge(env: Pb, changes: Pb) -> None:
    at = {variable.name: variable for variable in env}
    for change in changes:
        if change.name in at:
            at[change.name].CopyFrom(change)
        else:
            at[change.name] = env.add()
            at[change.name].CopyFrom(change)


def _find(where: str, containers: Pb, name: str) -> Pb:
    """Return the container that is meant: the only one where no name is given."""
    if not name:
        return containers[0]
    for container in containers:
        if container.name == name:
            return container
    raise bad(f"{where}.name", f"the job has no container {name[:100]!r}")


def _check_count(where: str, count: int) -> None:
    if not 1 <= count <= _MOST_TASKS:
        raise bad(where, f"must be between 1 and {_MOST_TASKS}")


def _check_timeout(where: str, timeout: Pb) -> None:
    if not -_LONGEST_TIMEOUT < timeout.seconds <= _LONGEST_TIMEOUT or seconds(timeout) <= 0:
        raise bad(where, f"must be more than 0 and at most {_LONGEST_TIMEOUT} seconds")


# `binary_authorization` is settable and refused: nothing here would attest an image.
_JOB_FIELDS = every(
    *("labels", "annotations", "client", "client_version", "launch_stage", "template"),
    *("start_execution_token", "run_execution_token"),
)
_SETTABLE = (
    "labels",
    "annotations",
    "client",
    "client_version",
    "launch_stage",
    "binary_authorization",
    "template",
    "start_execution_token",
    "run_execution_token",
)


class JobMaker:
    """Turns what a caller sends into a job as Cloud Run would keep it."""

    def __init__(self, config: CloudConfig, check_egress: CheckEgress) -> None:
        self._default_account = config.default_account
        self._check_egress = check_egress

    def create(self, given: Pb, *, name: str, creator: str, now: float) -> Pb:
        """Return a new job. Raises InvalidArgument."""
        job = self._settings_of(given)
        job.name, job.uid, job.creator = name, str(uuid.uuid4()), creator
        set_moment(job.create_time, now)
        return self._ready(job, modifier=creator, now=now)

    def change(self, job: Pb, given: Pb, *, modifier: str, now: float) -> Pb:
        """Return `job` with the settings of `given`. Raises InvalidArgument."""
        changed = Job()
        changed.CopyFrom(job)
        for field in _SETTABLE:
            changed.ClearField(field)
        changed.MergeFrom(self._settings_of(given))
        return self._ready(changed, modifier=modifier, now=now)

    def _settings_of(self, given: Pb) -> Pb:
        """Return a job with only what a caller may set, completed and checked."""
        job = Job()
        job.CopyFrom(given)
        for field, _ in given.ListFields():
            if field.name not in _SETTABLE:
                job.ClearField(field.name)
        refuse_unemulated(job, _JOB_FIELDS, where="job")
        complete(job.template)
        egress = job.template.template.vpc_access
        self._check_egress("job.template.template.vpc_access", egress)
        job.launch_stage = job.launch_stage or GA
        task = job.template.template
        task.service_account = task.service_account or self._default_account
        return job

    def _ready(self, job: Pb, *, modifier: str, now: float) -> Pb:
        job.generation += 1
        job.observed_generation = job.generation
        job.last_modifier = modifier
        job.terminal_condition.type_ = "Ready"
        job.terminal_condition.state = State.CONDITION_SUCCEEDED
        set_moment(job.terminal_condition.last_transition_time, now)
        touch(job, now)
        return job


def finished(job: Pb, names: RunNames) -> Pb:
    """Return the operation of a change to `job`; here such changes are done at once."""
    operation = Operation(name=names.new_operation(), done=True)
    operation.metadata.Pack(job)
    operation.response.Pack(job)
    return operation


def declared_job(declared: Declared, config: CloudConfig) -> Pb:
    """Return what a caller would send to create a job of devenv.toml."""
    job = Job()
    task = job.template.template
    task.service_account = config.email(declared.account)
    task.max_retries = declared.max_retries
    task.timeout.FromMilliseconds(round(declared.timeout * 1000))
    container = task.containers.add(image=declared.image)
    container.resources.limits.update({"cpu": declared.cpu, "memory": declared.memory})
    for name, value in declared.env.items():
        container.env.add(name=name, value=value)
    return job
