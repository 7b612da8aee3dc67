"""Workflows by API: import, export, versions, and the place of each problem."""

from typing import Any

import pytest

from tests.unit.validibot.api.conftest import Api
from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, User
from validibot.workflows.models import Workflow
from validibot.workflows.versions import freeze

PATH = "orgs/acme/workflows/"
FILE = """format: validibot.workflow.v1
slug: rooms
name: Rooms
steps:
- name: Shape
  validator: json-schema@1
  config:
    schema: {type: object}
"""


def put(api: Api, text: str | bytes, slug: str = "rooms") -> Any:
    return api.client.put(
        f"/api/v1/{PATH}{slug}/", text, content_type="application/yaml", headers=api.headers
    )


def test_created_workflow_is_exported_as_it_was_sent(alice: Api, people: Workflow) -> None:
    made = alice.post(f"{PATH}?project=homes", FILE, "application/yaml")
    exported = alice.get(f"{PATH}rooms/export/yaml/")

    assert (made.status_code, made.json()["project"]) == (201, "homes")
    assert made.headers["Location"] == "/api/v1/orgs/acme/workflows/rooms/versions/1/"
    again = put(alice, exported.content.decode())
    assert (again.status_code, again.json()["version"]) == (200, 1)


def test_put_of_used_version_makes_the_next(alice: Api, people: Workflow) -> None:
    assert put(alice, FILE).status_code == 201
    freeze(Workflow.objects.get(slug="rooms"))

    second = put(alice, FILE.replace("Rooms", "All rooms"))

    listed = alice.get(f"{PATH}rooms/versions/").json()["results"]
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert [(each["version"], each["name"]) for each in listed] == [(2, "All rooms"), (1, "Rooms")]


def test_json_and_bundle_are_imported(alice: Api, people: Workflow) -> None:
    text = '{"format": "validibot.workflow.v1", "slug": "rooms", "name": "Rooms\\u00e4"}'
    assert put(alice, text).json()["name"] == "Roomsä"

    bundle = alice.get(f"{PATH}rooms/export/zip/").content
    assert put(alice, bundle).status_code == 200


def test_problems_have_their_places_and_change_nothing(alice: Api, people: Workflow) -> None:
    text = FILE.replace("@1", "@9").replace("rooms", "people")
    answer = alice.post(PATH, text, "application/yaml")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "WORKFLOW_INVALID")
    places = [(each["field"], each["line"]) for each in problem["errors"]]
    assert places == [("slug", 2), ("steps.0.validator", 6)]
    assert Workflow.objects.count() == 1


def test_form_is_refused_with_advice(alice: Api, people: Workflow) -> None:
    answer = alice.post(PATH, {"file": FILE})

    assert (answer.status_code, "--data-binary" in answer.json()["detail"]) == (415, True)


def test_file_of_another_slug_is_refused(alice: Api, people: Workflow) -> None:
    answer = put(alice, FILE, slug="people")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "slug")


def test_too_large_file_returns_413(
    alice: Api, people: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.api.workflows.MAX_IMPORT_BYTES", 20)

    assert put(alice, FILE).status_code == 413


def test_unknown_project_and_export_are_named(alice: Api, people: Workflow) -> None:
    wrong = alice.post(f"{PATH}?project=nowhere", FILE, "application/yaml")
    export = alice.get(f"{PATH}people/export/toml/")

    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "project")
    assert (export.status_code, "'toml'" in export.json()["detail"]) == (404, True)


def test_key_without_manage_scope_may_not_write(alice: Api, people: Workflow) -> None:
    key, text = api_keys.issue(User.objects.get(email="alice@example.com"), "CI")
    ApiKey.objects.filter(pk=key.pk).update(scopes="read launch")
    alice.headers["Authorization"] = f"Bearer {text}"

    answer = put(alice, FILE)

    assert (answer.status_code, "scope manage" in answer.json()["detail"]) == (403, True)
