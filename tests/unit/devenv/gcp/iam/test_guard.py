"""Who may do what, and what a refusal says."""

import logging

import pytest

from devenv.gcp.caller import Caller
from devenv.gcp.config import Binding, CloudConfig, IamMode, Service
from devenv.gcp.errors import PermissionDenied
from devenv.gcp.iam.guard import Iam

PLACE = "projects/p/locations/us-west1"
JOB = f"{PLACE}/jobs/j"
WEB = Caller("web@p.iam.gserviceaccount.com")
NOBODY = Caller()


def iam(*bindings: Binding, mode: IamMode = "strict", services: tuple[Service, ...] = ()) -> Iam:
    return Iam(CloudConfig(project="p", iam=mode, bindings=bindings, services=services))


@pytest.mark.parametrize(
    ("binding", "permission", "resource"),
    [
        (Binding("web", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
        (Binding("web", "roles/run.viewer"), "run.executions.get", f"{JOB}/executions/e"),
        (
            Binding("web", "roles/cloudtasks.enqueuer", "queue/q"),
            "cloudtasks.tasks.create",
            f"{PLACE}/queues/q",
        ),
        (
            Binding("web", "roles/cloudtasks.viewer", "queue/q"),
            "cloudtasks.tasks.get",
            f"{PLACE}/queues/q/tasks/t",
        ),
        (
            Binding("web", "roles/storage.objectUser", "bucket/b"),
            "storage.objects.get",
            "projects/_/buckets/b/objects/a/b/c",
        ),
        (Binding("web", "roles/storage.objectUser"), "storage.objects.get", "projects/_/buckets/b"),
        (
            Binding("web", "roles/iam.serviceAccountUser", "account/tasks"),
            "iam.serviceAccounts.actAs",
            "projects/-/serviceAccounts/tasks@p.iam.gserviceaccount.com",
        ),
        (Binding("allUsers", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
        (Binding("allAuthenticatedUsers", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
    ],
)
def test_a_binding_covers_its_resource_and_all_below(
    binding: Binding, permission: str, resource: str
) -> None:
    iam(binding).require(WEB, permission, resource)


@pytest.mark.parametrize(
    ("binding", "permission", "resource"),
    [
        (Binding("web", "roles/run.invoker", "job/j"), "run.jobs.run", f"{PLACE}/jobs/jj"),
        (Binding("web", "roles/run.invoker", "job/j"), "run.jobs.runWithOverrides", JOB),
        (Binding("web", "roles/run.invoker"), "run.executions.cancel", f"{JOB}/executions/e"),
        (Binding("web", "roles/run.jobsExecutor"), "run.executions.get", f"{JOB}/executions/e"),
        (Binding("worker", "roles/run.invoker", "job/j"), "run.jobs.run", JOB),
        (Binding("web", "roles/unheard.of", "job/j"), "run.jobs.run", JOB),
        (Binding("web", "roles/storage.objectCreator", "bucket/b"), "storage.objects.get", "projects/_/buckets/b"),
    ],
)  # fmt: skip
def test_a_binding_covers_nothing_else(binding: Binding, permission: str, resource: str) -> None:
    with pytest.raises(PermissionDenied):
        iam(binding).require(WEB, permission, resource)


def test_the_refusal_is_googles_and_the_hint_is_a_line_for_the_file() -> None:
    with pytest.raises(PermissionDenied) as refused:
        iam().require(WEB, "run.jobs.run", JOB)

    assert refused.value.message == (
        f"Permission 'run.jobs.run' denied on resource '{JOB}' (or resource may not exist)."
    )
    info, hint = refused.value.details
    assert info.metadata == {"permission": "run.jobs.run", "resource": JOB}
    assert '{ member = "web", role = "roles/run.invoker", resource = "job/j" }' in hint.message


def test_a_permission_that_no_role_has_is_refused_too() -> None:
    with pytest.raises(PermissionDenied) as refused:
        iam().require(WEB, "run.jobs.dance", JOB)

    assert "no role" in refused.value.details[1].message


def test_nobody_is_nobody() -> None:
    with pytest.raises(PermissionDenied):
        iam(Binding("allAuthenticatedUsers", "roles/run.invoker")).require(
            NOBODY, "run.jobs.run", JOB
        )


def test_a_public_service_may_be_called_by_anybody() -> None:
    public = Service("web", 8000, "web", public=True)

    iam(services=(public,)).require(NOBODY, "run.routes.invoke", f"{PLACE}/services/web")


def test_warn_allows_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        iam(mode="warn").require(WEB, "run.jobs.run", JOB)

    assert "web lacks run.jobs.run" in caplog.text


def test_off_allows_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    iam(mode="off").require(NOBODY, "run.jobs.run", JOB)

    assert not caplog.text
