"""Jobs: made and changed by callers, and those that devenv.toml declares."""

import uuid

from devenv.gcp.config import CloudConfig, Job as Declared
from devenv.gcp.messages import every, refuse_unemulated, set_moment
from devenv.gcp.run_jobs.messages import GA, Job, Operation, Pb, State, touch
from devenv.gcp.run_jobs.names import Names
from devenv.gcp.run_jobs.template import complete

# `binary_authorization` is settable and refused: nothing here would attest an image.
_FIELDS = every(
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


class Maker:
    """Turns what a caller sends into a job as Cloud Run would keep it."""

    def __init__(self, config: CloudConfig) -> None:
        self._default_account = f"{config.number}-compute@developer.gserviceaccount.com"

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
        refuse_unemulated(job, _FIELDS, where="job")
        complete(job.template)
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


def finished(job: Pb, names: Names) -> Pb:
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
