"""Conditions of bindings and boundaries, as pure functions."""

import pytest

from devenv.gcp.iam.conditions import condition_holds, resource_type


def holds(condition: str) -> bool:
    prefix = {"storage.googleapis.com/objectListPrefix": "in/"}
    return condition_holds(condition, "projects/_/buckets/b/objects/in/x", now=0.0, api=prefix)


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
        ("resource.name.extract('/objects/{folder}/') == 'in'", True),
        ("resource.name.extract('/rows/{folder}/') == ''", True),
        ("request.time < timestamp('1970-01-02T00:00:00Z')", True),
        ("request.time.getHours('UTC') == 1", False),
        ("resource.service == 'storage.googleapis.com' && size(resource.name) > 5", True),
    ],
)
def test_condition_is_evaluated_as_cel(condition: str, expected: bool) -> None:
    assert holds(condition) is expected


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
    assert not holds(condition)
    assert not holds(f"!({condition})")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("projects/p", "cloudresourcemanager.googleapis.com/Project"),
        ("projects/_/buckets/b", "storage.googleapis.com/Bucket"),
        ("projects/_/buckets/b/objects/buckets/b", "storage.googleapis.com/Object"),
        ("projects/p/locations/l/queues/q", "cloudtasks.googleapis.com/Queue"),
        ("projects/p/secrets/s/versions/1", "secretmanager.googleapis.com/SecretVersion"),
        ("somewhere", ""),
    ],
)
def test_resource_type_follows_the_full_name(name: str, expected: str) -> None:
    assert resource_type(name) == expected
