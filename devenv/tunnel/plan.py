"""Dry run of tunnel mode: the calls to Google as values, none of them sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devenv.tunnel import google
from devenv.tunnel.config import TunnelConfig, TunnelPath
from devenv.tunnel.google import GoogleCall
from devenv.tunnel.providers import make

UNKNOWN = "https://<the tunnel>"
_NARROW = GoogleCall(
    "POST",
    "https://sts.googleapis.com/v1/token",
    {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "options": "read and create below the job's folder",
    },
)


@dataclass(frozen=True, slots=True)
class PlanStep:
    """`when` it happens and `why`."""

    when: str
    why: str
    call: GoogleCall


def command(config: TunnelConfig) -> tuple[str, ...]:
    """Return the tunnel program's command line; without a fixed port, 0 stands for the gate's."""
    return make(config).command(port=config.port)


def steps(
    config: TunnelConfig, paths: Sequence[TunnelPath], job_env: Sequence[str]
) -> list[PlanStep]:
    """Return every kind of call to Google, in the order from a task to the end of its job.

    `paths` are those of the target. `job_env` names the variables that a job is given beside its own.
    """
    return [*_before(config), *_work(config, paths, job_env)]


def _before(config: TunnelConfig) -> Iterator[PlanStep]:
    origin = config.url or UNKNOWN
    yield PlanStep("preflight", "compare clocks", GoogleCall("GET", google.CERTIFICATES))
    for need in google.needs(config):
        yield PlanStep("preflight", f"rights on {need.resource}", need.call)
    token = google.id_token(config.tasks_account, origin)
    yield PlanStep("preflight", "a real token for the gate", token)


def _work(
    config: TunnelConfig, paths: Sequence[TunnelPath], job_env: Sequence[str]
) -> Iterator[PlanStep]:
    yield PlanStep("each task", "store a file", _upload(config))
    yield PlanStep("each task", "put it on the queue (gRPC)", _task(config, paths))
    copy = f"/<file>/rewriteTo/b/{config.bucket}/o/<copy>?ifGenerationMatch=0"
    yield PlanStep("each job", "copy the file", _object(config, "POST", copy))
    yield PlanStep("each job", "store its input", _upload(config))
    yield PlanStep("each half hour", "a token of the storage account", _impersonate(config))
    yield PlanStep("each job", "a token for its folder alone", _NARROW)
    for job in config.jobs:
        yield from _job(config, job, job_env)
    yield PlanStep("each callback", "what is stored", _object(config, "GET", "?prefix=<folder>"))
    yield PlanStep("each callback", "in which version", _object(config, "GET", "/<name>"))
    yield PlanStep(
        "each callback, each download", "read", _object(config, "GET", "/<name>?alt=media")
    )
    yield PlanStep("each removal", "delete", _object(config, "DELETE", "/<name>"))
    yield PlanStep("each token", "certificates, kept", GoogleCall("GET", google.CERTIFICATES))


def _impersonate(config: TunnelConfig) -> GoogleCall:
    return GoogleCall(
        "POST",
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        f"{config.storage_account}:generateAccessToken",
        {"scope": ["https://www.googleapis.com/auth/devstorage.read_write"], "lifetime": "3600s"},
    )


def _upload(config: TunnelConfig) -> GoogleCall:
    base = f"https://storage.googleapis.com/upload/storage/v1/b/{config.bucket}/o"
    return GoogleCall("POST", f"{base}?ifGenerationMatch=0")


def _object(config: TunnelConfig, method: str, rest: str) -> GoogleCall:
    return GoogleCall(
        method, f"https://storage.googleapis.com/storage/v1/b/{config.bucket}/o{rest}"
    )


def _place(config: TunnelConfig) -> str:
    return f"projects/{config.project}/locations/{config.region}"


def _task(config: TunnelConfig, paths: Sequence[TunnelPath]) -> GoogleCall:
    path = next((one.path for one in paths if one.callers == "tasks_account"), "/")
    origin = config.url or UNKNOWN
    token = {"serviceAccountEmail": config.tasks_account, "audience": origin}
    request = {"httpMethod": "POST", "url": origin + path, "oidcToken": token}
    queue = f"{_place(config)}/queues/{config.queue}"
    return GoogleCall(
        "POST",
        f"https://cloudtasks.googleapis.com/v2/{queue}/tasks",
        {"task": {"httpRequest": request, "dispatchDeadline": "1800s"}},
    )


def _job(config: TunnelConfig, job: str, job_env: Sequence[str]) -> Iterator[PlanStep]:
    url = f"https://run.googleapis.com/v2/{_place(config)}/jobs/{job}"
    env = [{"name": name} for name in job_env]
    overrides = {"overrides": {"containerOverrides": [{"env": env}]}}
    yield PlanStep("each job", "start it (gRPC)", GoogleCall("POST", f"{url}:run", overrides))
    one = f"{url}/executions/<id>"
    yield PlanStep("while it runs", "look at the execution (gRPC)", GoogleCall("GET", one))
    yield PlanStep(
        "after a lost answer", "look for it (gRPC)", GoogleCall("GET", f"{url}/executions")
    )
    yield PlanStep("on cancel", "stop it (gRPC)", GoogleCall("POST", f"{one}:cancel"))
