"""Access boundaries and the conditions in them, as pure functions."""

import pytest

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.storage.boundary import Target, permits
from devenv.gcp.storage.expression import Attributes, holds

GET, LIST = "storage.objects.get", "storage.objects.list"
ATTRIBUTES = Attributes(
    resource={"name": "projects/_/buckets/b/objects/in/x", "type": "storage.googleapis.com/Object"},
    api={"storage.googleapis.com/objectListPrefix": "in/"},
)


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
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    assert holds(condition, ATTRIBUTES) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "resource.name",
        "true true",
        "true ||",
        "resource.owner == 'x'",
        "resource.name.matches('.*')",
        "'unclosed == 'x'",
        "(" * 500 + "true" + ")" * 500,
        "!" * 1000 + "true",
        "true" + " " * 3000,
        "api.getAttribute(" * 100,
        "1 == 1",
        "'a'.startsWith()",
    ],
)
def test_a_condition_that_cannot_be_read_never_holds(condition: str) -> None:
    assert not holds(condition, ATTRIBUTES)
    assert not holds(f"!({condition})", ATTRIBUTES)


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
def test_a_rule_makes_a_roles_permissions_available(
    role: str, permission: str, expected: bool
) -> None:
    assert permits(boundary(role), permission, Target("b", "x")) is expected


def test_a_rule_is_about_one_bucket() -> None:
    assert not permits(boundary("roles/storage.objectViewer", bucket="c"), GET, Target("b", "x"))


def test_a_boundary_without_rules_allows_nothing() -> None:
    assert not permits(AccessBoundary(), GET, Target("b", "x"))


def test_the_list_prefix_counts_for_lists_only() -> None:
    condition = "api.getAttribute('storage.googleapis.com/objectListPrefix', '') == 'in/'"
    viewer = boundary("roles/storage.objectViewer", condition)
    assert permits(viewer, LIST, Target("b", prefix="in/"))
    assert not permits(viewer, GET, Target("b", "in/x", prefix="in/"))
