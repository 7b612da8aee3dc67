"""IAM decisions: bindings, inheritance, refusals and modes."""

import asyncio
import logging
from typing import Any

import pytest

from devenv.gcp.caller import AccessBoundary, ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, IamBinding, IamMode, ServiceConfig
from devenv.gcp.errors import PermissionDenied
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies, Policy
from devenv.gcp.journal import OPEN, Journal
from tests.unit.devenv.gcp.fakes import MemoryStore

PLACE = "projects/p/locations/us-west1"
JOB = f"{PLACE}/jobs/j"
WEB = ApiCaller("web@p.iam.gserviceaccount.com")
ANONYMOUS = ApiCaller()


def iam(
    *bindings: IamBinding, mode: IamMode = "strict", services: tuple[ServiceConfig, ...] = ()
) -> Iam:
    config = CloudConfig(project="p", iam=mode, bindings=bindings, services=services)
    policies = Policies(config, MemoryStore(), is_account=lambda _: True)
    return Iam(config, policies, ManualClock())


@pytest.mark.parametrize(
    ("binding", "permission", "resource"),
    [
        (IamBinding("web", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
        (IamBinding("web", "roles/run.viewer"), "run.executions.get", f"{JOB}/executions/e"),
        (
            IamBinding("web", "roles/cloudtasks.enqueuer", "queue/q"),
            "cloudtasks.tasks.create",
            f"{PLACE}/queues/q",
        ),
        (
            IamBinding("web", "roles/cloudtasks.viewer", "queue/q"),
            "cloudtasks.tasks.get",
            f"{PLACE}/queues/q/tasks/t",
        ),
        (
            IamBinding("web", "roles/storage.objectUser", "bucket/b"),
            "storage.objects.get",
            "projects/_/buckets/b/objects/a/b/c",
        ),
        (
            IamBinding("web", "roles/storage.objectUser"),
            "storage.objects.get",
            "projects/_/buckets/b",
        ),
        (
            IamBinding("web", "roles/iam.serviceAccountUser", "account/tasks"),
            "iam.serviceAccounts.actAs",
            "projects/-/serviceAccounts/tasks@p.iam.gserviceaccount.com",
        ),
        (IamBinding("allUsers", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
        (IamBinding("allAuthenticatedUsers", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
    ],
)
def test_binding_covers_resource_and_everything_below(
    binding: IamBinding, permission: str, resource: str
) -> None:
    iam(binding).require(WEB, permission, resource)


@pytest.mark.parametrize(
    ("binding", "permission", "resource"),
    [
        (IamBinding("web", "roles/run.invoker", "job/j"), "run.jobs.run", f"{PLACE}/jobs/jj"),
        (IamBinding("web", "roles/run.invoker", "job/j"), "run.jobs.runWithOverrides", JOB),
        (IamBinding("web", "roles/run.invoker"), "run.executions.cancel", f"{JOB}/executions/e"),
        (IamBinding("web", "roles/run.jobsExecutor"), "run.executions.get", f"{JOB}/executions/e"),
        (IamBinding("worker", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
        (IamBinding("web", "roles/unheard.of", "job/j"), "run.jobs.run", JOB),
        (IamBinding("web", "roles/storage.objectCreator", "bucket/b"), "storage.objects.get", "projects/_/buckets/b"),
    ],
)  # fmt: skip
def test_binding_covers_nothing_else(binding: IamBinding, permission: str, resource: str) -> None:
    with pytest.raises(PermissionDenied):
        iam(binding).require(WEB, permission, resource)


def test_change_of_policy_or_role_counts_for_the_next_decision() -> None:
    config = CloudConfig(project="p", roles={"runner": ("run.jobs.run",)})
    store = MemoryStore()
    policies = Policies(config, store, is_account=lambda _: True)
    guard, policy = Iam(config, policies, ManualClock()), Policy()
    policy.bindings.add(role="projects/p/roles/runner", members=[f"serviceAccount:{WEB.email}"])
    decisions = [guard.allows(WEB, "run.jobs.run", JOB)]
    policies.write("projects/p", policy)
    decisions.append(guard.allows(WEB, "run.jobs.run", JOB))
    role: Any = policies.roles.get("projects/p/roles/runner")
    role.included_permissions[:] = ["run.jobs.get"]
    policies.roles.put(role)
    decisions.append(guard.allows(WEB, "run.jobs.run", JOB))

    assert decisions == [False, True, False]


def test_refusal_has_google_text_and_devenv_toml_hint() -> None:
    with pytest.raises(PermissionDenied) as refused:
        iam().require(WEB, "run.jobs.run", JOB)

    assert refused.value.message == (
        f"Permission 'run.jobs.run' denied on resource '{JOB}' (or resource may not exist)."
    )
    info, hint = refused.value.details
    assert info.metadata == {"permission": "run.jobs.run", "resource": JOB}
    assert '{ member = "web", role = "roles/run.invoker", resource = "job/j" }' in hint.message


def test_permission_without_role_is_refused() -> None:
    with pytest.raises(PermissionDenied) as refused:
        iam().require(WEB, "run.jobs.dance", JOB)

    assert "no role" in refused.value.details[1].message


def test_anonymous_caller_is_no_authenticated_user() -> None:
    with pytest.raises(PermissionDenied):
        iam(IamBinding("allAuthenticatedUsers", "roles/run.invoker")).require(
            ANONYMOUS, "run.jobs.run", JOB
        )


def test_public_service_allows_anonymous_caller() -> None:
    public = ServiceConfig("web", 8000, "web", public=True)

    iam(services=(public,)).require(ANONYMOUS, "run.routes.invoke", f"{PLACE}/services/web")


def test_warn_mode_allows_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        iam(mode="warn").require(WEB, "run.jobs.run", JOB)

    assert "web lacks run.jobs.run" in caplog.text


def test_off_mode_allows_silently(caplog: pytest.LogCaptureFixture) -> None:
    iam(mode="off").require(ANONYMOUS, "run.jobs.run", JOB)

    assert not caplog.text


@pytest.mark.parametrize("mode", ["strict", "warn", "off"])
@pytest.mark.parametrize(
    ("permission", "resource"),
    [
        ("run.jobs.run", JOB),
        ("cloudtasks.tasks.create", f"{PLACE}/queues/q"),
        ("cloudscheduler.jobs.run", f"{PLACE}/jobs/j"),
        ("iam.serviceAccounts.getAccessToken", "projects/p/serviceAccounts/a@p"),
    ],
)
def test_downscoped_token_is_refused_outside_storage(
    mode: IamMode, permission: str, resource: str
) -> None:
    guard = iam(IamBinding("web", "roles/owner"), mode=mode)
    downscoped = ApiCaller(WEB.email, AccessBoundary())

    with pytest.raises(PermissionDenied, match="Cloud Storage only"):
        guard.require(downscoped, permission, resource)
    assert not guard.allows(downscoped, permission, resource)
    guard.require(downscoped, "storage.objects.get", "projects/_/buckets/b")


@pytest.mark.parametrize(
    ("scope", "permission", "allowed"),
    [
        ("cloud-platform", "run.jobs.run", True),
        ("devstorage.read_write", "storage.objects.create", True),
        ("devstorage.read_only", "storage.objects.get", True),
        ("devstorage.read_only", "storage.objects.create", False),
        ("devstorage.read_write", "storage.buckets.setIamPolicy", False),
        ("devstorage.full_control", "storage.buckets.setIamPolicy", True),
        ("devstorage.read_write", "run.jobs.run", False),
        ("cloud-tasks", "cloudtasks.tasks.create", True),
        ("userinfo.email", "storage.objects.get", False),
        ("trace.append", "telemetry.traces.write", True),
        ("logging.write", "telemetry.traces.write", False),
        ("logging.write", "telemetry.logs.write", True),
        ("monitoring.write", "telemetry.metrics.write", True),
    ],
)
def test_token_scope_limits_services(scope: str, permission: str, allowed: bool) -> None:
    guard = iam(IamBinding("web", "roles/owner"))
    scoped = ApiCaller(WEB.email, scopes=(f"https://www.googleapis.com/auth/{scope}",))

    assert guard.allows(scoped, permission, "projects/p") == allowed
    if not allowed:
        with pytest.raises(PermissionDenied, match="insufficient authentication scopes"):
            guard.require(scoped, permission, "projects/p")


def test_decision_on_a_service_agent_is_not_noted_on_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = ApiCaller("service-1@gs-project-accounts.iam.gserviceaccount.com")

    async def upload() -> None:
        journal = Journal(":memory:", ManualClock())
        with journal.entry("storage.objects.insert") as entry, pytest.raises(PermissionDenied):
            iam().require(agent, "pubsub.topics.publish", "projects/p/topics/t")
        journal.close()
        assert (entry.decision, entry.used) == (OPEN, "")

    asyncio.run(upload())
    assert f'member = "{agent.email}"' in caplog.text
