"""Cloud Run services by Google's clients: deployed, called, split, and deleted."""

import ssl
from collections.abc import Iterator
from typing import Any

import google.auth
import httpx
import pytest
from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    FailedPrecondition,
    GoogleAPICallError,
    NotFound,
    PermissionDenied,
)
from google.auth.transport.requests import AuthorizedSession
from google.cloud import run_v2, secretmanager_v1
from google.iam.v1.iam_policy_pb2 import SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding, Policy

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs

PLACE = "projects/validibot-local/locations/us-west1"
ECHO, BROKEN = "echo-server:1", "sleeper:1"
TRANSPORTS = pytest.mark.parametrize("transport", ["grpc", "rest"])


@pytest.fixture
def admin(act_as: ActAs) -> None:
    act_as("admin")


@pytest.fixture
def services(admin: None) -> Iterator[run_v2.ServicesClient]:
    with run_v2.ServicesClient() as client:
        yield client


def wanted(image: str = ECHO, **changes: Any) -> run_v2.Service:
    template: dict[str, Any] = {"service_account": "web@validibot-local.iam.gserviceaccount.com"}
    env = changes.pop("env", [])
    template |= {"containers": [{"image": image, "env": env}]}
    template |= changes.pop("template", {})
    return run_v2.Service(template=template, **changes)


def done(operation: Any) -> Any:
    return operation.result(timeout=300)


def deploy(client: run_v2.ServicesClient, name: str, **changes: Any) -> run_v2.Service:
    """Create a service that everybody may call."""
    changes.setdefault("invoker_iam_disabled", True)
    service = wanted(**changes)
    made: run_v2.Service = done(
        client.create_service(parent=PLACE, service=service, service_id=name)
    )
    return made


def ask(cloud: Cloud, url: str, **options: Any) -> httpx.Response:
    trusted = ssl.create_default_context(cafile=str(cloud.bundle))
    with httpx.Client(proxy=cloud.proxy_url, verify=trusted) as client:
        return client.get(url, **options)


@TRANSPORTS
def test_service_is_deployed_called_changed_and_deleted(
    admin: None, cloud: Cloud, transport: str
) -> None:
    name = f"whole-{transport}"
    with (
        run_v2.ServicesClient(transport=transport) as services,
        run_v2.RevisionsClient(transport=transport) as revisions,
    ):
        made = deploy(services, name, env=[{"name": "GREETING", "value": "one"}])
        first = ask(cloud, f"{made.uri}/env").json()
        made.template.containers[0].env[0].value = "two"
        changed = done(services.update_service(service=made))
        second = ask(cloud, f"{made.uri}/env").json()
        listed = [each.name for each in revisions.list_revisions(parent=made.name)]
        with pytest.raises(Conflict, match=f"Resource '{name}' already exists"):
            services.create_service(parent=PLACE, service=wanted(), service_id=name)
        done(services.delete_service(name=made.name))
        with pytest.raises(NotFound, match="of kind 'SERVICE'"):
            services.get_service(name=made.name)

    assert (first["GREETING"], second["GREETING"]) == ("one", "two")
    assert (first["K_SERVICE"], first["K_CONFIGURATION"]) == (name, name)
    assert made.latest_ready_revision.endswith(f"/revisions/{first['K_REVISION']}")
    assert listed == [changed.latest_ready_revision, made.latest_ready_revision]
    assert made.terminal_condition.state.name == "CONDITION_SUCCEEDED"
    assert ask(cloud, f"{made.uri}/env").status_code == 404


def test_service_has_the_identity_of_its_account(
    services: run_v2.ServicesClient, cloud: Cloud
) -> None:
    made = deploy(services, "identity")

    assert ask(cloud, f"{made.uri}/whoami").text == "web@validibot-local.iam.gserviceaccount.com"
    done(services.delete_service(name=made.name))


def test_operation_is_not_done_before_the_container_listens(
    services: run_v2.ServicesClient,
) -> None:
    env = [{"name": "START_AFTER", "value": "0.3"}]
    operation = services.create_service(parent=PLACE, service=wanted(env=env), service_id="slow")

    assert not operation.operation.done
    assert operation.metadata.reconciling
    assert not done(operation).reconciling
    done(services.delete_service(name=f"{PLACE}/services/slow"))


def test_private_service_needs_an_invoker(
    services: run_v2.ServicesClient, act_as: ActAs, cloud: Cloud
) -> None:
    made = deploy(services, "private", invoker_iam_disabled=False)
    before = ask(cloud, made.uri)
    everybody = Policy(bindings=[Binding(role="roles/run.invoker", members=["allUsers"])])
    services.set_iam_policy(request=SetIamPolicyRequest(resource=made.name, policy=everybody))
    after = ask(cloud, made.uri)
    done(services.delete_service(name=made.name))

    assert (before.status_code, after.status_code) == (403, 200)


def test_traffic_is_split_by_percent_and_reached_by_tag(
    services: run_v2.ServicesClient, cloud: Cloud
) -> None:
    made = deploy(services, "split", env=[{"name": "GREETING", "value": "old"}])
    old = made.latest_ready_revision.rpartition("/")[2]
    made.template.containers[0].env[0].value = "new"
    made.traffic = [
        run_v2.TrafficTarget(revision=old, percent=100),
        run_v2.TrafficTarget(tag="next"),
    ]
    changed = done(services.update_service(service=made))
    answers = {ask(cloud, f"{made.uri}/env").json()["GREETING"] for _ in range(10)}
    (tagged,) = [each.uri for each in changed.traffic_statuses if each.tag]
    by_tag = ask(cloud, f"{tagged}/env").json()["GREETING"]

    changed.traffic = [
        run_v2.TrafficTarget(revision=old, percent=50),
        run_v2.TrafficTarget(percent=50),
    ]
    half = done(services.update_service(service=changed))
    mixed = {ask(cloud, f"{made.uri}/env").json()["GREETING"] for _ in range(40)}
    with run_v2.RevisionsClient() as revisions, pytest.raises(FailedPrecondition, match="traffic"):
        revisions.delete_revision(name=f"{made.name}/revisions/{old}")
    done(services.delete_service(name=made.name))

    assert (answers, by_tag, mixed) == ({"old"}, "new", {"old", "new"})
    assert tagged.startswith("https://next---split-")
    assert half.latest_ready_revision == changed.latest_ready_revision


def test_revision_that_does_not_listen_gets_no_traffic(
    services: run_v2.ServicesClient, cloud: Cloud
) -> None:
    made = deploy(services, "broken")
    worse = run_v2.Service(made)
    worse.template.containers[0].image = BROKEN
    probe = run_v2.Probe(period_seconds=1, failure_threshold=1, tcp_socket={})
    worse.template.containers[0].startup_probe = probe
    with pytest.raises(GoogleAPICallError, match="failed to start and listen on the port"):
        done(services.update_service(service=worse))
    found = services.get_service(name=made.name)
    answer = ask(cloud, made.uri)
    done(services.delete_service(name=made.name))

    assert found.latest_ready_revision == made.latest_ready_revision
    assert found.latest_created_revision != made.latest_ready_revision
    assert found.terminal_condition.state.name == "CONDITION_FAILED"
    assert answer.status_code == 200


def test_missing_image_is_named(services: run_v2.ServicesClient) -> None:
    operation = services.create_service(
        parent=PLACE, service=wanted("nobody/has:1"), service_id="no-image"
    )
    with pytest.raises(GoogleAPICallError, match=r"Image 'nobody/has:1' not found\. Name its"):
        done(operation)
    done(services.delete_service(name=f"{PLACE}/services/no-image"))


def test_secrets_are_variables_and_files(
    services: run_v2.ServicesClient, cloud: Cloud, config: CloudConfig
) -> None:
    with secretmanager_v1.SecretManagerServiceClient() as manager:
        secret = manager.create_secret(
            parent="projects/validibot-local",
            secret_id="of-service",
            secret=secretmanager_v1.Secret(replication={"automatic": {}}),
        )
        payload = secretmanager_v1.SecretPayload(data=b"s3cret")
        manager.add_secret_version(parent=secret.name, payload=payload)
        reference = {"secret": "of-service", "version": "latest"}
        env = [
            {"name": "TOKEN", "value_source": {"secret_key_ref": reference}},
            {"name": "TOKEN_FILE", "value": "/secrets/token"},
        ]
        volume = {"secret": "of-service", "items": [{"path": "token", "version": "1"}]}
        container = {
            "image": ECHO,
            "env": env,
            "volume_mounts": [{"name": "v", "mount_path": "/secrets"}],
        }
        template = {"containers": [container], "volumes": [{"name": "v", "secret": volume}]}
        with pytest.raises(GoogleAPICallError, match=r"denied on secret: .*secretAccessor"):
            deploy(services, "secretive", template=template)
        accessor = Binding(
            role="roles/secretmanager.secretAccessor",
            members=[f"serviceAccount:{config.email('web')}"],
        )
        policy = Policy(bindings=[accessor])
        manager.set_iam_policy(request=SetIamPolicyRequest(resource=secret.name, policy=policy))
        done(services.delete_service(name=f"{PLACE}/services/secretive"))
        made = deploy(services, "secretive", template=template)
        variables = ask(cloud, f"{made.uri}/env").json()
        content = ask(cloud, f"{made.uri}/file", params={"of": "TOKEN_FILE"}).text
        done(services.delete_service(name=made.name))
        manager.delete_secret(name=secret.name)

    assert (variables["TOKEN"], content) == ("s3cret", "s3cret")


def test_request_past_the_timeout_returns_504(
    services: run_v2.ServicesClient, cloud: Cloud
) -> None:
    made = deploy(services, "timeout", template={"timeout": "0.2s"})
    answer = ask(cloud, f"{made.uri}/sleep", params={"seconds": "20"})
    done(services.delete_service(name=made.name))

    assert answer.status_code == 504


def test_crash_returns_503_and_the_next_request_a_new_instance(
    services: run_v2.ServicesClient, cloud: Cloud
) -> None:
    made = deploy(services, "crash")
    before = ask(cloud, f"{made.uri}/pid").text
    crashed = ask(cloud, f"{made.uri}/exit")
    after = ask(cloud, f"{made.uri}/pid").text
    done(services.delete_service(name=made.name))

    assert crashed.status_code == 503
    assert before != after


def test_internal_service_is_hidden_from_outside(
    services: run_v2.ServicesClient, cloud: Cloud
) -> None:
    made = deploy(services, "internal", ingress="INGRESS_TRAFFIC_INTERNAL_ONLY")
    answer = ask(cloud, made.uri)
    done(services.delete_service(name=made.name))

    assert answer.status_code == 404


def test_caller_without_right_is_refused(act_as: ActAs) -> None:
    act_as("guest")
    with run_v2.ServicesClient() as services:
        with pytest.raises(PermissionDenied, match=r"run\.services\.create"):
            services.create_service(parent=PLACE, service=wanted(), service_id="never")
        with pytest.raises(PermissionDenied, match=r"run\.services\.list"):
            services.list_services(parent=PLACE)


def test_declared_service_is_in_the_same_registry(
    services: run_v2.ServicesClient, config: CloudConfig
) -> None:
    name = config.services[0].name
    service = services.get_service(name=f"{PLACE}/services/{name}")

    assert service.uri == config.service_url(name)
    assert service.template.service_account == config.email(config.services[0].account)
    assert name in [each.name.rpartition("/")[2] for each in services.list_services(parent=PLACE)]


def test_invalid_service_is_refused_by_rest_with_the_field(admin: None) -> None:
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    url = f"https://run.googleapis.com/v2/{PLACE}/services"
    body = {"template": {"containers": [{"image": ECHO, "env": [{"name": "PORT", "value": "1"}]}]}}
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        rest: Any = session
        error = rest.post(url, params={"serviceId": "bad"}, json=body).json()["error"]

    assert error["status"] == "INVALID_ARGUMENT"
    assert (
        "service.template.containers[0].env: The following reserved env names" in (error["message"])
    )


def test_dry_run_stores_nothing(services: run_v2.ServicesClient) -> None:
    request = {"parent": PLACE, "service": wanted(), "service_id": "dry", "validate_only": True}
    services.create_service(request=request)

    with pytest.raises(NotFound):
        services.get_service(name=f"{PLACE}/services/dry")
    with pytest.raises((BadRequest, GoogleAPICallError), match="must be less than 50 characters"):
        services.create_service(parent=PLACE, service=wanted(), service_id="Not_A_Label")
