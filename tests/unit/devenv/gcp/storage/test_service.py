"""Names of Cloud Storage's methods."""

import pytest

from devenv.gcp.storage.service import METHODS, method_id
from tests.unit.devenv.gcp.storage.cloud import StorageCloud

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("verb", "path", "expected"),
    [
        ("POST", "/upload/storage/v1/b/x/o", "storage.objects.insert"),
        ("PUT", "/resumable/upload/storage/v1/b/x/o", "storage.objects.insert"),
        ("GET", "/download/storage/v1/b/x/o/a/b", "storage.objects.get"),
        ("GET", "/storage/v1/b/x/o/a/b", "storage.objects.get"),
        ("GET", "/storage/v1/b/x/o", "storage.objects.list"),
        ("DELETE", "/storage/v1/b/x/o/a", "storage.objects.delete"),
        ("POST", "/storage/v1/b/x/o/a/rewriteTo/b/y/o/c", "storage.objects.rewrite"),
        ("POST", "/storage/v1/b", "storage.buckets.insert"),
        ("PUT", "/storage/v1/b/x/iam", "storage.buckets.setIamPolicy"),
        ("GET", "/bucket/object", "storage.objects.get"),
        ("PUT", "/bucket/object", "storage.objects.insert"),
        ("GET", "/storage/v1/b/x/folders", "storage GET /storage/v1/b/x/folders"),
    ],
)
def test_request_has_the_name_of_its_method(verb: str, path: str, expected: str) -> None:
    assert method_id(verb, path) == expected


async def test_every_route_of_the_json_api_has_a_name(cloud: StorageCloud) -> None:
    routes = [
        (verb, pattern.pattern.replace("([^/]+)", "x"))
        for pattern, methods in cloud.service.app._routes
        for verb in methods
    ]

    assert len(routes) >= 30
    assert [route for route in routes if method_id(*route) not in METHODS] == []
