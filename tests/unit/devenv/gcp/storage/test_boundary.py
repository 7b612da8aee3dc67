"""Access boundaries, as pure functions."""

import pytest

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.storage.access import StorageTarget, permits

GET, LIST = "storage.objects.get", "storage.objects.list"
OBJECT = StorageTarget("b", "in/x", prefix="in/")


def boundary(role: str, condition: str = "", bucket: str = "b") -> AccessBoundary:
    return AccessBoundary(
        ((f"//storage.googleapis.com/projects/_/buckets/{bucket}", (role,), condition),)
    )


@pytest.mark.parametrize(
    ("role", "permission", "expected"),
    [
        ("inRole:roles/storage.objectViewer", GET, True),
        ("roles/storage.objectViewer", LIST, True),
        ("inRole:roles/storage.objectViewer", "storage.objects.create", False),
        ("inRole:roles/storage.objectCreator", "storage.objects.create", True),
        ("inRole:roles/storage.objectCreator", "storage.objects.delete", False),
        ("inRole:roles/storage.objectAdmin", "storage.objects.setIamPolicy", True),
        ("inRole:roles/owner", GET, False),
    ],
)
def test_boundary_rule_permits_permissions_of_its_role(
    role: str, permission: str, expected: bool
) -> None:
    assert permits(boundary(role), permission, StorageTarget("b", "x")) is expected


def test_boundary_rule_applies_to_its_bucket_only() -> None:
    assert not permits(
        boundary("roles/storage.objectViewer", bucket="c"), GET, StorageTarget("b", "x")
    )


def test_boundary_without_rules_permits_nothing() -> None:
    assert not permits(AccessBoundary(), GET, StorageTarget("b", "x"))


def test_list_prefix_attribute_is_set_for_lists_only() -> None:
    condition = "api.getAttribute('storage.googleapis.com/objectListPrefix', '') == 'in/'"
    viewer = boundary("roles/storage.objectViewer", condition)
    assert permits(viewer, LIST, StorageTarget("b", prefix="in/"))
    assert not permits(viewer, GET, StorageTarget("b", "in/x", prefix="in/"))
