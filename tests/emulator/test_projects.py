"""Resource Manager and Service Usage by Google's clients, gRPC and REST."""

from typing import Any

import google.auth
import pytest
from google.api_core.exceptions import BadRequest, Forbidden
from google.auth.transport.requests import AuthorizedSession
from google.cloud import resourcemanager_v3, service_usage_v1

from tests.emulator.conftest import ActAs

PROJECT = "projects/validibot-local"
TRANSPORTS = pytest.mark.parametrize("transport", ["grpc", "rest"])


def done(operation: Any) -> Any:
    return operation.result(timeout=120)


@TRANSPORTS
def test_project_is_read_and_found(act_as: ActAs, transport: str) -> None:
    act_as("admin")
    with resourcemanager_v3.ProjectsClient(transport=transport) as client:
        project = client.get_project(name=PROJECT)
        found = [each.project_id for each in client.search_projects(query="id:validibot-local")]
        with pytest.raises(Forbidden, match="elsewhere"):
            client.get_project(name="projects/elsewhere")

    assert (project.name, project.project_id) == ("projects/123456789012", "validibot-local")
    assert found == ["validibot-local"]


def test_project_is_hidden_without_right(act_as: ActAs) -> None:
    act_as("guest")
    with resourcemanager_v3.ProjectsClient() as client:
        with pytest.raises(Forbidden, match=r"resourcemanager\.projects\.get"):
            client.get_project(name=PROJECT)
        assert not list(client.search_projects(query=""))


def test_version_1_of_resource_manager_answers_its_own_shape(act_as: ActAs) -> None:
    act_as("admin")
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    url = "https://cloudresourcemanager.googleapis.com/v1/projects"
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        rest: Any = session
        project = rest.get(f"{url}/validibot-local").json()
        listed = rest.get(url, params={"filter": "lifecycleState:ACTIVE"}).json()["projects"]

    assert (project["projectNumber"], project["lifecycleState"]) == ("123456789012", "ACTIVE")
    assert listed == [project]


@TRANSPORTS
def test_services_are_enabled_disabled_and_listed(act_as: ActAs, transport: str) -> None:
    act_as("admin")
    name = f"{PROJECT}/services/run.googleapis.com"
    with service_usage_v1.ServiceUsageClient(transport=transport) as client:
        done(client.disable_service(request={"name": name}))
        off = client.get_service(request={"name": name}).state
        names = {
            each.config.name
            for each in client.list_services(request={"parent": PROJECT, "filter": "state:ENABLED"})
        }
        request = {"parent": PROJECT, "service_ids": ["run.googleapis.com"]}
        (on,) = done(client.batch_enable_services(request=request)).services
        with pytest.raises(BadRequest, match=r"spanner\.googleapis\.com is not emulated"):
            client.enable_service(request={"name": f"{PROJECT}/services/spanner.googleapis.com"})

    assert off == service_usage_v1.State.DISABLED
    assert on.state == service_usage_v1.State.ENABLED
    assert "iam.googleapis.com" in names
    assert "run.googleapis.com" not in names
