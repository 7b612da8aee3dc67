"""Settings of Cloud Run services: defaults, limits, revisions, and what is refused by name."""

from typing import Any

import pytest
from google.cloud import run_v2
from google.cloud.run_v2.services.revisions.transports.rest_base import _BaseRevisionsRestTransport
from google.cloud.run_v2.services.services.transports.rest_base import _BaseServicesRestTransport
from google.protobuf.field_mask_pb2 import FieldMask

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, InvalidArgument, Unimplemented
from devenv.gcp.rpc import HttpRule
from devenv.gcp.run_services import api as rest
from devenv.gcp.run_services.settings import ServiceMaker, check_service_id
from tests.unit.devenv.gcp.run_jobs.bench import any_network

NAME = "projects/p/locations/us-west1/services/web"
MAKER = ServiceMaker(CloudConfig(project="p"), any_network)


def service(container: dict[str, Any] | None = None, **changes: Any) -> Any:
    template = {"containers": [{"image": "i", **(container or {})}], **changes.pop("template", {})}
    return run_v2.Service.pb()(template=template, **changes)


def create(*args: Any, **changes: Any) -> Any:
    return MAKER.create(service(*args, **changes), name=NAME, creator="me", now=1.0)


def change(before: Any, given: Any, *paths: str) -> Any:
    return MAKER.change(before, given, FieldMask(paths=paths), modifier="me", now=2.0)


def test_defaults_are_those_of_google() -> None:
    made = create()
    template, container = made.template, made.template.containers[0]

    assert made.uri == "https://web-123456789012.us-west1.run.app"
    assert (template.timeout.seconds, template.max_instance_request_concurrency) == (300, 80)
    assert template.scaling.max_instance_count == 100
    assert template.service_account == "123456789012-compute@developer.gserviceaccount.com"
    assert dict(container.resources.limits) == {"cpu": "1000m", "memory": "512Mi"}
    assert (container.ports[0].name, container.ports[0].container_port) == ("http1", 8080)
    assert container.startup_probe.tcp_socket.port == 8080
    assert [(t.type_, t.percent) for t in made.traffic] == [(1, 100)]


def test_changed_template_makes_a_revision_and_traffic_does_not() -> None:
    before = create()
    first = MAKER.revision(before, None, (), 1.0)
    named = service(traffic=[{"revision": "web-1", "percent": 100}])

    assert first.name.startswith(f"{NAME}/revisions/web-00001-")
    assert MAKER.revision(change(before, named), before, (), 2.0) is None
    changed = change(before, service({"image": "j"}))
    assert MAKER.revision(changed, before, (), 2.0).name.startswith(f"{NAME}/revisions/web-00002-")


def test_mask_changes_only_what_it_names() -> None:
    before = create(description="kept")
    changed = change(before, service({"image": "j"}, description="lost"), "template")

    assert (changed.description, changed.template.containers[0].image) == ("kept", "j")


def test_named_revision_must_be_new_and_begin_with_the_service() -> None:
    named = create(template={"revision": "web-blue"})
    assert MAKER.revision(named, None, (), 1.0).name == f"{NAME}/revisions/web-blue"
    with pytest.raises(AlreadyExists, match="'web-blue' with different configuration"):
        MAKER.revision(named, None, ("web-blue",), 1.0)
    with pytest.raises(InvalidArgument, match="must begin with 'web-'"):
        MAKER.revision(create(template={"revision": "green"}), None, (), 1.0)


def test_traffic_to_a_missing_revision_is_refused() -> None:
    made = create(traffic=[{"revision": "web-1", "percent": 100}])
    with pytest.raises(InvalidArgument, match=r"traffic\[0\]\.revision: there is no revision"):
        MAKER.check_traffic(made, ())


@pytest.mark.parametrize("service_id", ["", "Web", "web-", "1web", "w" * 50])
def test_invalid_id_is_refused(service_id: str) -> None:
    with pytest.raises(InvalidArgument, match="service_id: only lowercase"):
        check_service_id(service_id)


@pytest.mark.parametrize(
    ("container", "changes", "message"),
    [
        ({"env": [{"name": "PORT", "value": "1"}]}, {}, "reserved env names were provided: PORT"),
        ({"env": [{"name": "K_SERVICE"}]}, {}, "reserved env names were provided: K_SERVICE"),
        ({"image": ""}, {}, "image: must not be empty"),
        ({"ports": [{"container_port": 70000}]}, {}, "a port from 1 to 65535"),
        ({"ports": [{}, {}]}, {}, "must have one port"),
        ({"startup_probe": {"period_seconds": 300, "tcp_socket": {}}}, {}, "must not exceed"),
        ({"startup_probe": {"period_seconds": 3}}, {}, "must have http_get or tcp_socket"),
        ({}, {"template": {"timeout": {"seconds": 3601}}}, "at most 3600s"),
        ({}, {"template": {"max_instance_request_concurrency": 1001}}, "between 1 and 1000"),
        ({}, {"template": {"scaling": {"min_instance_count": 101}}}, "min_instance_count 101"),
        ({}, {"traffic": [{"percent": 99}]}, "must add up to 100"),
        ({}, {"traffic": [{"percent": 200}]}, "between 0 and 100"),
        ({}, {"traffic": [{"type_": 2, "percent": 100}]}, "a revision must be named"),
        ({}, {"traffic": [{"percent": 100, "tag": "No"}]}, "must be a DNS label"),
    ],
)
def test_setting_outside_its_limits_is_refused(
    container: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        create(container, **changes)


@pytest.mark.parametrize(
    ("container", "changes", "field"),
    [
        ({"working_dir": "/x"}, {}, r"containers\.working_dir"),
        ({"liveness_probe": {"period_seconds": 1}}, {}, r"containers\.liveness_probe"),
        ({}, {"template": {"session_affinity": True}}, r"template\.session_affinity"),
        ({}, {"template": {"vpc_access": {"connector": "c"}}}, r"template\.vpc_access"),
        ({}, {"iap_enabled": True}, "iap_enabled"),
        ({}, {"binary_authorization": {"use_default": True}}, "binary_authorization"),
        ({}, {"build_config": {"name": "b"}}, "build_config"),
        ({}, {"scaling": {"manual_instance_count": 1}}, r"scaling\.manual_instance_count"),
    ],
)
def test_setting_that_is_not_emulated_is_named(
    container: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(Unimplemented, match=field):
        create(container, **changes)


def test_sidecar_is_refused() -> None:
    with pytest.raises(Unimplemented, match="sidecars are not emulated"):
        create(template={"containers": [{"image": "a"}, {"image": "b"}]})


def _published(transport: Any, method: str) -> HttpRule:
    rule, *_ = getattr(transport, f"_Base{method}")._get_http_options()
    return HttpRule(rule["method"].upper(), rule["uri"], rule.get("body", ""))


@pytest.mark.parametrize(
    ("transport", "table"),
    [(_BaseServicesRestTransport, rest.SERVICES), (_BaseRevisionsRestTransport, rest.REVISIONS)],
    ids=["services", "revisions"],
)
def test_rest_table_equals_published_client(transport: Any, table: dict[str, HttpRule]) -> None:
    assert table == {method: _published(transport, method) for method in table}
