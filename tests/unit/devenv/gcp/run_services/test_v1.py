"""The v1 API: what gcloud sends becomes v2, and what it reads back is what it sent."""

from typing import Any

import pytest

from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.run_jobs.service import RunJobsService
from devenv.gcp.run_services.service import RunServices
from devenv.gcp.run_v1.api import RunV1Api
from devenv.gcp.run_v1.domains import DomainMappings
from devenv.gcp.run_v1.services import service_of_v2
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, MemoryJournal, MemoryStore, no_faults
from tests.unit.devenv.gcp.run_jobs.bench import IMAGE, PlayedRuntime
from tests.unit.devenv.gcp.run_services.bench import NO_SOURCES, instances
from tests.unit.devenv.gcp.web import Web

CONFIG = CloudConfig(project="p", accounts=("web",), domains=("example.com",))
HOST = "http://us-west1-run.googleapis.com"
SERVICES = "/apis/serving.knative.dev/v1/namespaces/p"
DOMAINS = "/apis/domains.cloudrun.com/v1/namespaces/p"
JOBS = "/apis/run.googleapis.com/v1/namespaces/p"


class V1Bench:
    def __init__(self) -> None:
        store, self.guard = MemoryStore(), FakeGuard()
        self.context = instances(PlayedRuntime())
        services = RunServices(
            config=CONFIG,
            store=store,
            guard=self.guard,
            claims=lambda _: None,
            context=self.context,
        )
        jobs = RunJobsService(
            config=CONFIG,
            store=store,
            clock=self.context.clock,
            guard=self.guard,
            runtime=PlayedRuntime(),
            sources=NO_SOURCES,
        )
        mappings = DomainMappings(CONFIG, store, self.guard, self.context.clock)
        api = RunV1Api(CONFIG, (*services.rpcs(), *jobs.rpcs()), mappings)
        calls = Calls(Everybody(), MemoryJournal(), no_faults())
        self.web = Web(RestApp(api.rpcs(), calls), base=HOST)


@pytest.fixture
def web() -> Web:
    return V1Bench().web


SERVICE: dict[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {
        "name": "web",
        "namespace": "p",
        "labels": {"team": "a"},
        "annotations": {
            "run.googleapis.com/ingress": "internal",
            "run.googleapis.com/invoker-iam-disabled": "true",
            "run.googleapis.com/custom-audiences": '["https://example.com"]',
            "run.googleapis.com/minScale": "1",
            "mine": "kept",
        },
    },
    "spec": {
        "template": {
            "metadata": {
                "name": "web-blue",
                "labels": {"client.knative.dev/nonce": "abc"},
                "annotations": {
                    "autoscaling.knative.dev/minScale": "1",
                    "autoscaling.knative.dev/maxScale": "3",
                    "run.googleapis.com/execution-environment": "gen1",
                    "run.googleapis.com/secrets": "alias:projects/1/secrets/far",
                },
            },
            "spec": {
                "containerConcurrency": 7,
                "timeoutSeconds": 30,
                "serviceAccountName": "web@p.iam.gserviceaccount.com",
                "containers": [
                    {
                        "image": IMAGE,
                        "env": [
                            {"name": "A", "value": "1"},
                            {
                                "name": "B",
                                "valueFrom": {"secretKeyRef": {"name": "alias", "key": "2"}},
                            },
                        ],
                        "ports": [{"name": "http1", "containerPort": 9000}],
                        "volumeMounts": [{"name": "v", "mountPath": "/s"}],
                        "startupProbe": {
                            "periodSeconds": 5,
                            "timeoutSeconds": 2,
                            "failureThreshold": 3,
                            "httpGet": {"path": "/ready", "port": 9000},
                        },
                    }
                ],
                "volumes": [
                    {
                        "name": "v",
                        "secret": {"secretName": "near", "items": [{"key": "latest", "path": "f"}]},
                    }
                ],
            },
        },
        "traffic": [
            {"latestRevision": True, "percent": 100},
            {"revisionName": "web-blue", "tag": "t"},
        ],
    },
}
JOB: dict[str, Any] = {
    "metadata": {"name": "sim", "annotations": {"run.googleapis.com/client-name": "gcloud"}},
    "spec": {
        "template": {
            "spec": {
                "taskCount": 2,
                "parallelism": 1,
                "template": {
                    "spec": {
                        "containers": [{"image": IMAGE, "args": ["a"]}],
                        "maxRetries": 0,
                        "timeoutSeconds": "30",
                        "serviceAccountName": "web@p.iam.gserviceaccount.com",
                    }
                },
            }
        }
    },
}


def test_service_becomes_one_of_v2() -> None:
    made = service_of_v2(SERVICE)
    template, container = made.template, made.template.containers[0]

    assert (made.ingress, made.invoker_iam_disabled) == (2, True)
    assert list(made.custom_audiences) == ["https://example.com"]
    assert made.scaling.min_instance_count == 1
    assert dict(made.annotations) == {"mine": "kept"}
    assert (template.revision, template.timeout.seconds) == ("web-blue", 30)
    assert (template.scaling.min_instance_count, template.scaling.max_instance_count) == (1, 3)
    reference = container.env[1].value_source.secret_key_ref
    assert (reference.secret, reference.version) == ("projects/1/secrets/far", "2")
    assert template.volumes[0].secret.items[0].version == "latest"
    assert [(t.percent, t.revision, t.tag) for t in made.traffic] == [
        (100, "", ""),
        (0, "web-blue", "t"),
    ]


def test_service_is_read_as_it_was_sent(web: Web) -> None:
    web.post(f"{SERVICES}/services", json=SERVICE)
    found = web.get(f"{SERVICES}/services/web").json()
    spec, sent = found["spec"]["template"]["spec"], SERVICE["spec"]["template"]["spec"]

    for name in ("containerConcurrency", "timeoutSeconds", "serviceAccountName", "volumes"):
        assert spec[name] == sent[name]
    container = spec["containers"][0]
    for name in ("image", "ports", "volumeMounts", "startupProbe"):
        assert container[name] == sent["containers"][0][name]
    assert container["env"][1]["valueFrom"]["secretKeyRef"]["name"] == "projects/1/secrets/far"
    assert found["metadata"]["labels"]["team"] == "a"
    assert found["metadata"]["annotations"]["run.googleapis.com/ingress"] == "internal"
    assert found["status"]["latestCreatedRevisionName"] == "web-blue"
    assert found["status"]["conditions"][0]["type"] == "Ready"
    assert found["spec"]["traffic"][0] == {"latestRevision": True, "percent": 100}


def test_service_that_was_read_is_accepted_once(web: Web) -> None:
    web.post(f"{SERVICES}/services", json=SERVICE)
    found = web.get(f"{SERVICES}/services/web").json()
    again = web.request("PUT", f"{SERVICES}/services/web", json=found).json()
    stale = web.request("PUT", f"{SERVICES}/services/web", json=found)

    assert again["spec"] == found["spec"]
    assert stale.status_code == 409


@pytest.mark.parametrize("collection", ["services", "revisions", "configurations", "routes"])
def test_resources_of_a_service_are_listed_and_read(web: Web, collection: str) -> None:
    web.post(f"{SERVICES}/services", json=SERVICE)
    (listed,) = web.get(f"{SERVICES}/{collection}").json()["items"]
    name = listed["metadata"]["name"]
    (everywhere,) = web.get(f"/v1/projects/p/locations/-/{collection}").json()["items"]

    assert name == ("web-blue" if collection == "revisions" else "web")
    assert web.get(f"{SERVICES}/{collection}/{name}").json() == listed == everywhere
    assert web.get(f"{SERVICES}/{collection}/missing").status_code == 404


def test_job_is_created_changed_and_deleted(web: Web) -> None:
    made = web.post(f"{JOBS}/jobs", json=JOB).json()
    made["spec"]["template"]["spec"]["taskCount"] = 3
    changed = web.request("PUT", f"{JOBS}/jobs/sim", json=made).json()
    (listed,) = web.get(f"{JOBS}/jobs").json()["items"]
    gone = web.request("DELETE", f"{JOBS}/jobs/sim").json()

    spec = changed["spec"]["template"]["spec"]
    assert (spec["taskCount"], spec["parallelism"]) == (3, 1)
    assert spec["template"]["spec"]["timeoutSeconds"] == "30"
    assert listed == changed
    assert gone["status"] == "Success"
    assert web.get(f"{JOBS}/jobs/sim").status_code == 404


def test_execution_is_run_and_read_with_its_tasks() -> None:
    bench = V1Bench()
    web = bench.web
    web.post(f"{JOBS}/jobs", json=JOB)
    overrides = {"taskCount": 1, "timeoutSeconds": 9, "containerOverrides": [{"args": ["b"]}]}
    made = web.post(f"{JOBS}/jobs/sim:run", json={"overrides": overrides}).json()
    name = made["metadata"]["name"]
    selector = {"labelSelector": "run.googleapis.com/job = sim"}
    (listed,) = web.get(f"{JOBS}/executions", params=selector).json()["items"]
    tasks = web.get(
        f"{JOBS}/tasks", params={"labelSelector": f"run.googleapis.com/execution={name}"}
    ).json()["items"]

    assert made["spec"]["taskCount"] == 1
    assert made["spec"]["template"]["spec"]["timeoutSeconds"] == "9"
    assert listed["metadata"]["labels"]["run.googleapis.com/job"] == "sim"
    assert [task["metadata"]["name"] for task in tasks] == [f"{name}-task0"]
    assert web.get(f"{JOBS}/tasks/{name}-task0").json() == tasks[0]
    assert web.get(f"{JOBS}/executions/{name}").status_code == 200


def test_rights_are_those_of_version_2() -> None:
    bench = V1Bench()
    bench.guard.denied.add("run.services.create")

    assert bench.web.post(f"{SERVICES}/services", json=SERVICE).status_code == 403


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/apis/serving.knative.dev/v1/namespaces/other/services", 404, "Project 'other'"),
        ("/v1/projects/p/locations/mars/services", 404, "Location 'mars' is not emulated"),
        ("/apis/eventing.knative.dev/v1/namespaces/p/triggers", 501, "is not emulated"),
    ],
)
def test_other_place_or_resource_is_refused(web: Web, path: str, status: int, message: str) -> None:
    answer = web.get(path)

    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"run.googleapis.com/vpc-access-connector": "c"}, "vpc-access-connector is not emulated"),
        ({"run.googleapis.com/cloudsql-instances": "c"}, "PROJECT:REGION:INSTANCE"),
        ({"run.googleapis.com/network-interfaces": "default"}, "it must be a JSON list"),
        ({"run.googleapis.com/network-interfaces": '["default"]'}, "it must be a JSON list"),
        ({"run.googleapis.com/vpc-access-egress": "some"}, "is 'some'; use private-ranges-only"),
        ({"run.googleapis.com/vpc-access-egress": "all-traffic"}, "needs a network"),
        ({"autoscaling.knative.dev/maxScale": "many"}, "'many'; it must be a whole number"),
        ({"run.googleapis.com/sessionAffinity": "true"}, "session_affinity is not emulated"),
    ],
)
def test_annotation_that_cannot_be_followed_is_named(
    web: Web, annotations: dict[str, str], message: str
) -> None:
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"image": "i"}]}}
    body = {"metadata": {"name": "web"}, "spec": {"template": template}}

    assert message in web.post(f"{SERVICES}/services", json=body).json()["error"]["message"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"spec": "x"}, "spec.template.spec is 'x'; it must be an object"),
        ({"metadata": {"labels": {"a": 5}}}, "metadata.labels.a is '5'; it must be a text"),
        ({"spec": {"containers": ["x"]}}, "containers is \"['x']\"; it must be a list of objects"),
        ({"spec": {"containers": [{"env": [{"name": 1}]}]}}, "containers[0].env[0].name is '1'"),
        (
            {"spec": {"volumes": [{"secret": "x"}]}},
            "volumes[0].secret is 'x'; it must be an object",
        ),
        (
            {"metadata": {"annotations": None}, "spec": None},
            "template.containers: must contain one",
        ),
    ],
)
def test_field_of_another_type_is_named(web: Web, template: Any, message: str) -> None:
    body = {"metadata": {"name": "web"}, "spec": {"template": template}}

    assert message in web.post(f"{SERVICES}/services", json=body).json()["error"]["message"]


@pytest.mark.parametrize(
    ("domain", "route", "state", "reason", "records"),
    [
        ("app.example.com", "web", "True", None, {"CNAME"}),
        ("example.com", "web", "True", None, {"A", "AAAA"}),
        ("app.example.org", "web", "False", "PermissionDenied", set()),
        ("app.example.com", "none", "False", "RouteMissing", set()),
    ],
)
def test_mapping_tells_what_its_domain_lacks(
    web: Web, domain: str, route: str, state: str, reason: str | None, records: set[str]
) -> None:
    web.post(f"{SERVICES}/services", json=SERVICE)
    body = {"metadata": {"name": domain}, "spec": {"routeName": route}}
    web.post(f"{DOMAINS}/domainmappings", json=body)
    again = web.post(f"{DOMAINS}/domainmappings", json=body)
    (listed,) = web.get(f"{DOMAINS}/domainmappings").json()["items"]
    status = web.get(f"{DOMAINS}/domainmappings/{domain}").json()["status"]
    deleted = web.request("DELETE", f"{DOMAINS}/domainmappings/{domain}")

    assert again.status_code == 409
    assert listed["status"] == status
    assert (status["conditions"][0]["status"], status["conditions"][0].get("reason")) == (
        state,
        reason,
    )
    assert {each["type"] for each in status.get("resourceRecords", [])} == records
    assert deleted.status_code == 200
    assert web.get(f"{DOMAINS}/domainmappings/{domain}").status_code == 404


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("no domain", {"routeName": "web"}, "metadata.name is 'no domain'"),
        ("a.example.com", {}, "spec.routeName is required"),
        ("a.example.com", "web", "spec is 'web'; it must be an object"),
        ("a.example.com", {"routeName": "web", "certificateMode": "MINE"}, "is 'MINE'"),
        ("a.example.com", {"routeName": "web", "other": 1}, "spec.other is not emulated"),
    ],
)
def test_invalid_mapping_is_refused_by_its_field(
    web: Web, name: str, spec: dict[str, Any], message: str
) -> None:
    answer = web.post(f"{DOMAINS}/domainmappings", json={"metadata": {"name": name}, "spec": spec})

    assert message in answer.json()["error"]["message"]


def test_verified_domains_are_listed_for_gcloud(web: Web) -> None:
    assert web.get("/v1/projects/p/authorizeddomains").json() == {
        "domains": [{"id": "example.com", "name": "example.com"}]
    }


def test_network_and_database_of_annotations_come_back(web: Web) -> None:
    wanted = {
        "run.googleapis.com/network-interfaces": '[{"network":"default","subnetwork":"default"}]',
        "run.googleapis.com/vpc-access-egress": "all-traffic",
        "run.googleapis.com/cloudsql-instances": "p:us-west1:db,p:us-west1:other",
    }
    template = {"metadata": {"annotations": wanted}, "spec": {"containers": [{"image": "i"}]}}
    body = {"metadata": {"name": "net"}, "spec": {"template": template}}
    web.post(f"{SERVICES}/services", json=body)
    told = web.get(f"{SERVICES}/services/net").json()["spec"]["template"]
    of_v2 = service_of_v2(body).template
    task = {"template": {"spec": {"containers": [{"image": IMAGE}]}}}
    job = {"metadata": {"name": "net"}, "spec": {"template": {**template, "spec": task}}}
    web.post(f"{JOBS}/jobs", json=job)
    of_job = web.get(f"{JOBS}/jobs/net").json()["spec"]["template"]["metadata"]["annotations"]

    assert {name: told["metadata"]["annotations"][name] for name in wanted} == wanted
    assert {name: of_job[name] for name in wanted} == wanted
    assert "volumes" not in told["spec"]
    assert "volumeMounts" not in told["spec"]["containers"][0]
    assert of_v2.vpc_access.network_interfaces[0].subnetwork == "default"
    assert of_v2.volumes[0].cloud_sql_instance.instances[1] == "p:us-west1:other"
    assert of_v2.containers[0].volume_mounts[0].mount_path == "/cloudsql"
