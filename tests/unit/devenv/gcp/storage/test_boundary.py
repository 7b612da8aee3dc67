"""Access boundaries and the conditions in them, as pure functions."""

import pytest

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.storage.access import StorageTarget, condition_holds, permits

GET, LIST = "storage.objects.get", "storage.objects.list"
OBJECT = StorageTarget("b", "in/x", prefix="in/")


def boundary(role: str, condition: str = "", bucket: str = "b") -> AccessBoundary:
    return AccessBoundary(
        ((f"//storage.googleapis.com/projects/_/buckets/{bucket}", (role,), condition),)
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("resource.name.startsWith('projects/_/buckets/b/objects/in/')", True),
        ('resource.name.startsWith("projects/_/buckets/b/objects/out/")', False),
        ("resource.name.endsWith('/x') && resource.name.contains('objects')", True),
        ("false || true && !false", True),
        ("!(true || false)", False),
        ("false && true || true", True),
        ("resource.type == 'storage.googleapis.com/Object'", True),
        ("resource.type != 'storage.googleapis.com/Object'", False),
        ("api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('in/')", True),
        ("api.getAttribute('other', 'none') == 'none'", True),
        (r"'it\'s' == 'it\'s'", True),
        ("resource.name.matches('^projects/.*/in/')", True),
        ("resource.service == 'storage.googleapis.com' && size(resource.name) > 5", True),
    ],
)
def test_condition_is_evaluated_as_cel(condition: str, expected: bool) -> None:
    assert condition_holds(condition, LIST, OBJECT) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "resource.name",
        "true true",
        "true ||",
        "resource.owner == 'x'",
        "'unclosed == 'x'",
        "(" * 500 + "true" + ")" * 500,
        "resource.name.extract('{x}')",
        "true" + " " * 3000,
        "api.getAttribute(" * 100,
        "1 + 1",
        "'a'.startsWith()",
    ],
)
def test_invalid_condition_never_holds(condition: str) -> None:
    assert not condition_holds(condition, LIST, OBJECT)
    assert not condition_holds(f"!({condition})", LIST, OBJECT)


@pytest.mark.parametrize(
    ("role", "permission", "expected"),
    [
        ("inRole:roles/storage.objectViewer", GET, True),
        ("roles/storage.objectViewer", LIST, True),
        ("inRole:roles/storage.objectViewer", "storage.objects.create", False),
        ("inRole:roles/storage.objectCreator", "storage.objects.create", True),
        ("inRole:roles/storage.objectCreator", "storage.objects.delete", False),
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
