"""The worker's jobs of custom validators in a stage that `deploy` made."""

from dataclasses import replace
from typing import Any

import pytest
from google.cloud import run_v2

from deploy.layout import Layout
from deploy.verify import checks, results
from tests.emulator.conftest import ActAs
from tests.emulator.deploy.conftest import PLACE
from validators.sdk.manifest import NetworkReach
from validibot.runs.backends.base import JobDefinition, StateUnavailable
from validibot.runs.backends.cloud_run import CloudRunBackend

# The grants that the worker needs to make jobs of custom validators, as each of their accounts.
NEEDED = (
    "project-role/shared-validator-jobs",
    *("access/account/shared-validator-custom", "access/account/shared-custom-12"),
)
ROLE = "role/shared_validatorJobs"
PERMISSIONS = ("run.jobs.create", "run.jobs.list", "run.jobs.delete")
CUSTOM_JOB = JobDefinition(
    name="custom-7",
    image="sleeper:1",
    version="1",
    timeout_seconds=60,
    memory_mb=512,
    labels={},
    organisation="12",
    network=NetworkReach.PLATFORM,
    secrets={"KEY": "projects/validibot-local/secrets/shared-custom-12-api-key/versions/1"},
)


def refusal_without(layout: Layout, need: str, backend: CloudRunBackend, act_as: ActAs) -> str:
    """Return what the worker is told without a role or permission that it needs to keep jobs."""
    address = ROLE if need in PERMISSIONS else need
    role: Any = next(each for each in layout.resources() if each.address == address)
    fewer: dict[str, Any] = {"roles": {}} if role.kind == "access" else {"accounts": []}
    if need in PERMISSIONS:
        fewer = {"permissions": [each for each in role.permissions if each != need]}
    act_as("deployer")
    replace(role, **fewer).update({})
    act_as("shared-worker")
    with pytest.raises(StateUnavailable) as refused:
        backend.check_preparation()
    act_as("deployer")
    role.update({})
    return str(refused.value)


def custom_backend() -> CloudRunBackend:
    """Return the backend as the worker of the stage has it."""
    place = "validibot-local.iam.gserviceaccount.com"
    options = {"project": "validibot-local", "region": "us-west1", "job_prefix": "shared-"}
    custom = {
        "custom_account": f"shared-validator-custom@{place}",
        "custom_subnetwork": "default",
        "secret_accounts": {"12": f"shared-custom-12@{place}"},
    }
    return CloudRunBackend("default", {"OPTIONS": {**options, **custom}})


def use_job(backend: CloudRunBackend) -> None:
    """Create, change and run a job, look at its execution and cancel it."""
    backend.prepare(CUSTOM_JOB)
    backend.prepare(CUSTOM_JOB)
    with run_v2.JobsClient() as jobs, run_v2.ExecutionsClient() as executions:
        execution = jobs.run_job(name=f"{PLACE}/jobs/shared-custom-7").metadata.name
        assert executions.get_execution(name=execution).name == execution
        executions.cancel_execution(name=execution)
    assert {"custom-7", "migrate"} <= {*backend.job_names()}
    backend.remove_job("custom-7")
    backend.remove_job("custom-7")
    assert "custom-7" not in [*backend.job_names()]
    backend.prepare(CUSTOM_JOB)


def problems_of_secrets(layout: Layout) -> list[str]:
    """Return what `verify` says of a secret as it is, without a version, and with another one."""
    secret = layout.data.secret("shared-custom-12-api-key")
    wanted = [each for each in checks(layout, None) if each.name == "secrets of custom validators"]
    told = [text for _, text in results(wanted)]
    secret.retire(*secret.versions())
    told += [text for _, text in results(wanted)]
    secret.add("another")
    return told + [text for _, text in results(wanted)]
