"""Clients of three users (author, viewer, user of another organisation) and a workflow."""

from typing import Any

import pytest
from django.test import Client

from validibot.accounts import api_keys
from validibot.accounts.models import Membership, Organisation, Project, Role, User
from validibot.workflows.models import Step, Validator, Workflow

SCHEMA = {"type": "object", "required": ["name"], "properties": {"age": {"type": "integer"}}}


class Api:
    """A client of the public API with a user's key."""

    def __init__(self, user: User | None) -> None:
        self.client = Client()
        self.headers: dict[str, str] = {}
        if user:
            _, text = api_keys.issue(user, "test")
            self.headers["Authorization"] = f"Bearer {text}"

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.headers | headers)

    def post(self, path: str, data: Any = None, content_type: str = "", **headers: str) -> Any:
        kind = {"content_type": content_type} if content_type else {}
        return self.client.post(f"/api/v1/{path}", data, headers=self.headers | headers, **kind)  # type: ignore[arg-type]

    def launch(self, content: bytes | str, filename: str = "a.json", **headers: str) -> Any:
        path = "orgs/acme/workflows/people/runs/"
        headers = {"X-Filename": filename} | headers
        return self.post(path, content, "application/octet-stream", **headers)


@pytest.fixture
def acme(db: None) -> Organisation:
    organisation = Organisation.objects.create(name="Acme", slug="acme")
    Project.objects.create(organisation=organisation, name="Homes", slug="homes")
    return organisation


def _member(organisation: Organisation, name: str, role: str) -> User:
    user = User.objects.create_user(f"{name}@example.com", "secret")
    Membership.objects.create(organisation=organisation, user=user, role=role)
    return user


@pytest.fixture
def alice(acme: Organisation) -> Api:
    return Api(_member(acme, "alice", Role.AUTHOR))


@pytest.fixture
def victor(acme: Organisation) -> Api:
    return Api(_member(acme, "victor", Role.VIEWER))


@pytest.fixture
def charlie(db: None) -> Api:
    return Api(User.objects.create_user("charlie@example.com", "secret"))


@pytest.fixture
def anonymous(db: None) -> Api:
    return Api(None)


@pytest.fixture
def people(acme: Organisation) -> Workflow:
    """A workflow with one JSON Schema step."""
    validator = Validator.objects.create(
        slug="json-schema",
        version="1",
        title="JSON Schema",
        validation_type="JSON_SCHEMA",
        engine="json_schema",
        accepts=[{"extension": ".json", "mime_type": "application/json"}],
    )
    workflow = Workflow.objects.create(
        organisation=acme, slug="people", name="People", project=acme.projects.get()
    )
    Step.objects.create(
        workflow=workflow, order=1, name="Shape", validator=validator, config={"schema": SCHEMA}
    )
    return workflow
