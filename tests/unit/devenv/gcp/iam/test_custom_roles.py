"""Custom roles: what they grant in each state, and the rules of their methods."""

from typing import Any

import pytest
from google.cloud import iam_admin_v1 as admin

from devenv.gcp.caller import ApiCall
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from devenv.gcp.iam.custom_roles import Roles, RolesApi
from devenv.gcp.tables import ConfigError
from tests.unit.devenv.gcp.fakes import FakeGuard, MemoryStore

pytestmark = pytest.mark.anyio
CONFIG = CloudConfig(project="p")
NAME = "projects/p/roles/reader"
GET = frozenset({"run.jobs.get"})


class RoleBench:
    """The methods over a store and a clock of their own."""

    def __init__(self) -> None:
        self.store, self.clock, self.guard = MemoryStore(), ManualClock(), FakeGuard()
        self.roles = Roles(CONFIG, self.store)
        self.api = RolesApi(CONFIG, self.roles, self.guard, self.clock)

    async def create(self, role_id: str = "reader", **role: Any) -> Any:
        role.setdefault("included_permissions", ["run.jobs.get"])
        request = admin.CreateRoleRequest.pb()(parent="projects/p", role_id=role_id, role=role)
        return await self.api.create(request, ApiCall())

    async def call(self, method: str, **fields: Any) -> Any:
        request = getattr(admin, f"{method.capitalize()}RoleRequest").pb()(name=NAME, **fields)
        return await getattr(self.api, method)(request, ApiCall())


@pytest.fixture
def bench() -> RoleBench:
    return RoleBench()


async def test_role_grants_its_permissions_unless_disabled_or_deleted(bench: RoleBench) -> None:
    await bench.create()
    assert bench.roles.permissions(NAME) == GET
    await bench.call("update", role={"stage": 5}, update_mask={"paths": ["stage"]})
    assert bench.roles.permissions(NAME) == frozenset()
    await bench.call("update", role={"stage": 2}, update_mask={"paths": ["stage"]})
    await bench.call("delete")
    assert bench.roles.permissions(NAME) == frozenset()
    await bench.call("undelete")

    assert bench.roles.permissions(NAME) == GET
    assert Roles(CONFIG, bench.store).permissions(NAME) == GET


async def test_deleted_role_is_gone_after_a_week(bench: RoleBench) -> None:
    await bench.create()
    await bench.call("delete")
    with pytest.raises(AlreadyExists):
        await bench.create()
    with pytest.raises(FailedPrecondition, match="undelete it first"):
        await bench.call("update", role={"title": "T"})

    await bench.clock.turn(8 * 86400)

    with pytest.raises(NotFound):
        await bench.call("get")
    await bench.create()


async def test_changed_role_is_not_overwritten(bench: RoleBench) -> None:
    role = await bench.create()
    await bench.call("update", role={"title": "T"}, update_mask={"paths": ["title"]})

    with pytest.raises(Aborted):
        await bench.call("update", role={"title": "U", "etag": role.etag})


@pytest.mark.parametrize(
    ("role_id", "role", "message"),
    [
        ("a!", {}, "The role ID 'a!' must have 3 to 64"),
        ("reader", {"included_permissions": ["run.jobs.fly"]}, "Permission run.jobs.fly is not"),
        ("reader", {"included_permissions": ["everything"]}, "Permission everything is not valid"),
        ("reader", {"title": "x" * 101}, "role.title is longer than 100 characters"),
    ],
)
async def test_invalid_role_is_refused(
    bench: RoleBench, role_id: str, role: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        await bench.create(role_id, **role)


async def test_permission_of_a_service_that_is_not_emulated_is_kept(bench: RoleBench) -> None:
    role = await bench.create(included_permissions=["compute.instances.get"])

    assert list(role.included_permissions) == ["compute.instances.get"]


async def test_list_shows_permissions_in_the_full_view_only(bench: RoleBench) -> None:
    await bench.create()
    request = admin.ListRolesRequest.pb()
    (basic,) = (await bench.api.list(request(parent="projects/p"), ApiCall())).roles
    (full,) = (await bench.api.list(request(parent="projects/p", view=1), ApiCall())).roles
    predefined = await bench.api.list(request(), ApiCall())

    assert (list(basic.included_permissions), list(full.included_permissions)) == ([], [*GET])
    assert "roles/run.admin" in [role.name for role in predefined.roles]


async def test_missing_right_is_refused_before_anything_else(bench: RoleBench) -> None:
    bench.guard.denied.add("iam.roles.get")
    with pytest.raises(PermissionDenied):
        await bench.call("get")


async def test_testable_permissions_are_those_of_predefined_roles(bench: RoleBench) -> None:
    request = admin.QueryTestablePermissionsRequest.pb()(page_size=1000)
    found = await bench.api.testable(request, ApiCall())

    assert "run.jobs.get" in [each.name for each in found.permissions]


async def test_declared_role_has_its_permissions_after_each_start(bench: RoleBench) -> None:
    declared = CloudConfig(project="p", roles={"reader": ("run.jobs.get",)})
    await bench.create(included_permissions=["run.jobs.delete"])

    assert Roles(declared, bench.store).permissions(NAME) == GET
    assert Roles(CONFIG, bench.store).permissions(NAME) == GET


@pytest.mark.parametrize(
    ("role_id", "permission", "message"),
    [
        ("a b", "run.jobs.get", "the id 'a b' must have"),
        ("reader", "run.jobs.eat", r"gcp\.roles\.reader: Permission run\.jobs\.eat is not valid"),
    ],
)
async def test_wrong_declared_role_is_refused_by_name(
    role_id: str, permission: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Roles(CloudConfig(roles={role_id: (permission,)}), MemoryStore())
