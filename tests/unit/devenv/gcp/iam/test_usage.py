"""Roles that suffice for what was used."""

import pytest

from devenv.gcp.iam.roles import smallest_roles_for


@pytest.mark.parametrize(
    ("used", "roles"),
    [
        ([], []),
        (["run.routes.invoke"], ["roles/run.servicesInvoker"]),
        (["storage.objects.get"], ["roles/storage.legacyObjectReader"]),
        (["storage.objects.get", "storage.objects.create"], ["roles/storage.objectUser"]),
        (
            ["cloudtasks.tasks.create", "iam.serviceAccounts.actAs"],
            ["roles/cloudtasks.enqueuer", "roles/iam.serviceAccountUser"],
        ),
        (
            ["run.jobs.run", "run.jobs.runWithOverrides", "run.executions.get"],
            ["roles/run.developer"],
        ),
    ],
)
def test_fewest_roles_cover_used_permissions(used: list[str], roles: list[str]) -> None:
    assert smallest_roles_for(used) == (roles, [])


def test_permission_of_no_role_is_reported() -> None:
    assert smallest_roles_for(["run.jobs.run", "run.jobs.fly"]) == (
        ["roles/run.invoker"],
        ["run.jobs.fly"],
    )
