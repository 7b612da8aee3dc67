"""Jobs of custom validators on Cloud Run, and what it cannot give them, without a cloud."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions as google_exceptions
from google.cloud import run_v2

from validators.sdk.manifest import NetworkReach
from validibot.runs.backends import cloud_run
from validibot.runs.backends.base import (
    ImageNeeds,
    JobDefinition,
    JobRefused,
    StateUnavailable,
)
from validibot.runs.backends.cloud_run import CloudRunBackend

exceptions: Any = google_exceptions  # its constructors have no types
REFERENCE = "projects/p/secrets/s-custom-12-api-key/versions/3"
JOB = JobDefinition(
    name="custom-7",
    image="r/i@sha256:2",
    version="1.0.0",
    timeout_seconds=60,
    memory_mb=256,
    labels={"a": "b"},
    organisation="12",
    network=NetworkReach.PLATFORM,
    secrets={"API_KEY": REFERENCE},
)
CUSTOM = {
    "project": "p",
    "region": "r",
    "job_prefix": "s-",
    "custom_account": "custom@p",
    "custom_subnetwork": "inside",
    "secret_accounts": {"12": "custom-12@p"},
}


class CreatedJobs:
    """Client that keeps the jobs that are made, or refuses as a test wants."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made: list[dict[str, Any]] = []

    def create_job(self, **call: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return self._make(call)

    def update_job(self, **call: Any) -> Any:
        return self._make(call)

    def _make(self, call: dict[str, Any]) -> Any:
        self.made.append(call)
        return SimpleNamespace(result=lambda timeout: None)


def prepare(monkeypatch: pytest.MonkeyPatch, maker: CreatedJobs, job: JobDefinition = JOB) -> None:
    monkeypatch.setattr(cloud_run, "_connect", {maker: None}.__getitem__)
    monkeypatch.setattr(cloud_run, "jobs", lambda: maker)
    CloudRunBackend("default", {"OPTIONS": CUSTOM}).prepare(job)


@pytest.mark.parametrize("has_secrets", [True, False])
def test_job_of_custom_validator_runs_once_as_its_own_account(
    monkeypatch: pytest.MonkeyPatch, has_secrets: bool
) -> None:
    maker = CreatedJobs()
    job = JOB if has_secrets else replace(JOB, secrets={}, network=NetworkReach.INTERNET)

    prepare(monkeypatch, maker, job)

    [call] = maker.made
    task = call["job"].template.template
    assert (call["parent"], call["job_id"]) == ("projects/p/locations/r", "s-custom-7")
    account = "custom-12@p" if has_secrets else "custom@p"
    assert (task.service_account, task.max_retries) == (account, 0)
    found = {
        variable.name: variable.value_source.secret_key_ref for variable in task.containers[0].env
    }
    key = found.get("API_KEY", run_v2.SecretKeySelector())
    assert (key.secret, key.version) == (("s-custom-12-api-key", "3") if has_secrets else ("", ""))
    egress = task.vpc_access.egress
    assert (egress == run_v2.VpcAccess.VpcEgress.ALL_TRAFFIC) is has_secrets
    assert [each.subnetwork for each in task.vpc_access.network_interfaces] == (
        ["inside"] if has_secrets else []
    )
    assert task.containers[0].image == JOB.image
    assert dict(task.containers[0].resources.limits) == {"cpu": "1", "memory": "512Mi"}
    assert task.timeout.total_seconds() == 60


def test_job_that_exists_is_made_the_wanted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = CreatedJobs(exceptions.AlreadyExists("exists"))

    prepare(monkeypatch, maker)

    assert [call["job"].name for call in maker.made] == ["projects/p/locations/r/jobs/s-custom-7"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (exceptions.InvalidArgument("no such image"), JobRefused),
        (exceptions.Forbidden("not allowed"), JobRefused),
        (exceptions.ServiceUnavailable("down"), StateUnavailable),
    ],
)
def test_refused_job_differs_from_an_outage(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        prepare(monkeypatch, CreatedJobs(error))


def test_launch_tells_which_secrets_the_execution_gets() -> None:
    key = run_v2.SecretKeySelector(secret="projects/77/secrets/key", version="4")
    source = run_v2.EnvVarSource(secret_key_ref=key)
    env = [run_v2.EnvVar(name="A", value="1"), run_v2.EnvVar(name="KEY", value_source=source)]
    template = run_v2.TaskTemplate(containers=[run_v2.Container(env=env)])
    backend = CloudRunBackend("default", {"OPTIONS": CUSTOM})

    found = backend._secrets_of(run_v2.Execution(template=template))

    assert found == {"KEY": "projects/p/secrets/key/versions/4"}


@pytest.mark.parametrize(
    ("network", "organisation", "missing", "told"),
    [
        (NetworkReach.PLATFORM, "12", "", []),
        (NetworkReach.INTERNET, "12", "custom_subnetwork", []),
        (NetworkReach.NONE, "12", "", ["`network` is 'none', but on Cloud Run"]),
        (NetworkReach.PLATFORM, "12", "custom_subnetwork", ["has no subnetwork"]),
        (NetworkReach.PLATFORM, "13", "", ["no account that reads secrets for organisation 13"]),
    ],
)
def test_needs_that_cloud_run_cannot_meet_are_refused(
    network: NetworkReach, organisation: str, missing: str, told: list[str]
) -> None:
    options = {name: value for name, value in CUSTOM.items() if name != missing}
    backend = CloudRunBackend("default", {"OPTIONS": options})
    needs = ImageNeeds(organisation=organisation, network=network, secrets=["API_KEY"])

    found = list(backend.refusals(needs))

    assert len(found) == len(told)
    assert all(text in sentence for text, sentence in zip(told, found, strict=True))
