"""Read operations of the API: documents, pages, and refusals."""

import base64
from collections.abc import Sequence
from unittest.mock import Mock
from uuid import UUID

import pytest
from django.db import OperationalError
from django.utils import timezone

from tests.factories import FindingFactory, RunFactory, StepRunFactory
from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import Organisation
from validibot.runs.listing import page_of_runs
from validibot.runs.models import Run
from validibot.workflows.models import WeatherFile, Workflow


def test_me_returns_the_user_of_the_key(alice: Api) -> None:
    assert alice.get("auth/me/").json()["email"] == "alice@example.com"


@pytest.mark.parametrize("path", ["auth/me/", "orgs/", "orgs/acme/workflows/"])
def test_missing_api_key_returns_401(anonymous: Api, people: Workflow, path: str) -> None:
    answer = anonymous.get(path)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["detail"]


def test_missing_database_returns_503(alice: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Mock(side_effect=OperationalError("the server is gone"))
    monkeypatch.setattr("validibot.accounts.api_keys.authenticate", gone)

    answer = alice.get("auth/me/")

    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["Retry-After"] == "5"


def test_wrong_api_key_error_names_the_page_of_keys(anonymous: Api) -> None:
    answer = anonymous.get("auth/me/", Authorization="Bearer nonsense")

    assert answer.status_code == 401
    assert "/app/users/api-key/" in answer.json()["detail"]


def test_foreign_and_missing_organisations_answer_alike(charlie: Api, people: Workflow) -> None:
    real, made_up = charlie.get("orgs/acme/"), charlie.get("orgs/nowhere/")

    assert (real.status_code, made_up.status_code) == (404, 404)
    assert real.json()["detail"].replace("acme", "nowhere") == made_up.json()["detail"]


def test_workflow_pages_link_by_path(alice: Api, acme: Organisation) -> None:
    for number in range(3):
        Workflow.objects.create(organisation=acme, slug=f"w{number}", name=f"W{number}")

    first = alice.get("orgs/acme/workflows/?page_size=2").json()
    second = alice.get(first["next"].removeprefix("/api/v1/")).json()

    assert first["next"].startswith("/api/v1/orgs/acme/workflows/?")
    assert [w["slug"] for w in first["results"] + second["results"]] == ["w0", "w1", "w2"]
    assert second["next"] is None


def test_workflow_list_has_latest_versions_only(alice: Api, people: Workflow) -> None:
    newer = Workflow.objects.create(
        organisation=people.organisation, slug="people", name="People", version=2
    )

    listed = alice.get("orgs/acme/workflows/").json()["results"]
    pinned = alice.get("orgs/acme/workflows/people/?version=1").json()

    assert [(w["id"], w["version"]) for w in listed] == [(newer.pk, 2)]
    assert pinned["version"] == 1


def test_workflow_document_has_its_steps(alice: Api, people: Workflow) -> None:
    shown = alice.get("orgs/acme/workflows/people/").json()

    assert (shown["org_slug"], shown["project"]) == ("acme", "homes")
    assert shown["steps"][0]["validator_type"] == "JSON_SCHEMA"


@pytest.mark.parametrize("version", ["0", "x", "-1", "99999999999", "9" * 5000, "%D9%A1"])
def test_invalid_version_is_refused_by_name(alice: Api, people: Workflow, version: str) -> None:
    answer = alice.get(f"orgs/acme/workflows/people/?version={version}")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "version"


@pytest.mark.parametrize(
    "path", ["orgs/", "orgs/acme/workflows/", "orgs/acme/runs/", "{run}events/"]
)
@pytest.mark.parametrize(
    "query",
    [
        "cursor=cD1hYmM%3D",
        "cursor=cD0lMDA%3D",
        "cursor=cD0lRkY%3D",
        "cursor=cD0yMDI2LTAxLTAxVDAwOjAwOjAwJTAw",
        f"cursor={base64.b64encode(b'o=' + b'9' * 5000).decode()}",
        f"cursor={base64.b64encode(b'p=9999-12-31T23:59:59-01:00').decode()}",
        "cursor=nonsense",
        "page_size=0",
        "page_size=201",
        f"page_size={'9' * 5000}",
    ],
)
def test_invalid_page_is_never_a_server_error(
    alice: Api, people: Workflow, path: str, query: str
) -> None:
    run = alice.launch(b"{}").json()["url"].removeprefix("/api/v1/")
    answer = alice.get(f"{path.format(run=run)}?{query}")

    # Any text is a place among names; only a number or a time is one among runs and events.
    assert answer.status_code in (200, 400, 404)
    assert answer.status_code != 200 or path in ("orgs/", "orgs/acme/workflows/")


def test_cursor_with_unusual_offset_is_a_place_among_runs(alice: Api, people: Workflow) -> None:
    run = alice.launch(b"{}").json()["id"]
    cursor = base64.b64encode(b"p=2500-01-01T00:00:00%2B23:59").decode()

    page = alice.get(f"orgs/acme/runs/?cursor={cursor}").json()

    assert [shown["id"] for shown in page["results"]] == [run]


@pytest.mark.parametrize(
    "path",
    [
        "orgs/acme/workflows/nothing/",
        "orgs/acme/workflows/people/?project=elsewhere",
        "orgs/acme/workflows/%00/",
        "orgs/acme/workflows/o%2Fx/",
        "orgs/acme/workflows/people/versions/0/",
        "orgs/acme/workflows/people/versions/7/",
        f"orgs/acme/workflows/people/versions/{'9' * 5000}/",
        f"orgs/acme/runs/00000000-0000-4000-8000-000000000000/artifacts/{'9' * 5000}/",
        "orgs/acme/runs/00000000-0000-4000-8000-000000000000/",
        "orgs/acme/runs/nonsense/",
        "nowhere/",
    ],
)
def test_missing_object_answers_a_problem_document(alice: Api, people: Workflow, path: str) -> None:
    answer = alice.get(path)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    ["status=GREEN", "after=yesterday", "before=2026-99-01", "result=good"],
)
def test_invalid_filter_is_refused_by_name(alice: Api, people: Workflow, query: str) -> None:
    answer = alice.get(f"orgs/acme/runs/?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]


def test_weather_lists_names_places_and_digests(alice: Api, acme: Organisation) -> None:
    file = {"port_key": "weather_file", "name": "a.epw", "size_bytes": 3, "sha256": "0" * 64}
    stored = file | {"uri": "gs://secret/a.epw", "storage_version": "1", "type": "x"}
    for name, place in (("USA_CO_Golden", "Golden, CO, USA"), ("NOR_Oslo", "Oslo, NOR")):
        WeatherFile.objects.create(name=name, location=place, files=[stored])

    first = alice.get("orgs/acme/weather/?page_size=1").json()
    found = alice.get("orgs/acme/weather/?text=golden, co").json()

    assert ([entry["name"] for entry in first["results"]], bool(first["next"])) == (
        ["NOR_Oslo"],
        True,
    )
    (golden,) = found["results"]
    assert golden.pop("updated_at")
    assert golden == {"name": "USA_CO_Golden", "location": "Golden, CO, USA", "files": [file]}


def test_weather_text_with_nul_is_refused_by_name(alice: Api, acme: Organisation) -> None:
    answer = alice.get("orgs/acme/weather/?text=%00")

    assert (answer.status_code, "text" in answer.json()["detail"]) == (400, True)


def _walk(api: Api, page: str | None) -> list[str]:
    """Return the ids of the runs of a page and of those behind it."""
    found: list[str] = []
    while page:
        answer = api.get(page.removeprefix("/api/v1/")).json()
        found += [run["id"] for run in answer["results"]]
        page = answer["next"]
    return found


def test_runs_of_one_moment_are_each_on_one_page(alice: Api, people: Workflow) -> None:
    RunFactory.create_batch(5, workflow=people)
    Run.objects.update(created_at=timezone.now())

    found = _walk(alice, "orgs/acme/runs/?page_size=2")

    assert found == sorted(map(str, Run.objects.values_list("pk", flat=True)), reverse=True)


def test_filters_of_the_page_select_runs(alice: Api, people: Workflow) -> None:
    own = RunFactory.create(
        workflow=people, user=people.organisation.members.get(), source="CLI", status="TIMED_OUT"
    )
    other = RunFactory.create(workflow=people, submission__filename="other.json")
    for query in ("person=me", "person=ALICE@example.com", "source=CLI", "result=timed_out"):
        assert _walk(alice, f"orgs/acme/runs/?{query}") == [str(own.pk)], query
    assert _walk(alice, "orgs/acme/runs/?text=OTHER&version=1&status=&source=") == [str(other.pk)]
    for query in ("version=2", "person=nobody@example.com"):
        assert _walk(alice, f"orgs/acme/runs/?{query}") == [], query


def test_search_in_findings_goes_on_behind_its_cursor(
    alice: Api, people: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.runs.listing.SEARCHED_RUNS", 2)
    runs = RunFactory.create_batch(5, workflow=people)
    for run in runs[:3]:
        step = StepRunFactory.create(run=run, step=people.steps.get())
        FindingFactory.create(run=run, step_run=step, message="The roof leaks.")
    place = "orgs/acme/runs/?finding=ROOF"

    assert sorted(_walk(alice, f"{place}&page_size=1")) == sorted(str(run.pk) for run in runs[:3])
    for more in ("count=true", "cursor=older_1"):
        assert alice.get(f"{place}&{more}").status_code == 400, more


def test_search_goes_on_behind_runs_that_were_deleted_meanwhile(people: Workflow) -> None:
    RunFactory.create_batch(2, workflow=people)

    def search(keys: Sequence[UUID]) -> tuple[set[UUID], int]:
        Run.objects.filter(pk=keys[0]).delete()
        return set(keys), len(keys)

    found = page_of_runs(Run.objects.all(), {}, size=1, search=search)
    behind = page_of_runs(Run.objects.all(), {"older": found.older}, size=1)

    assert (found.object_list, behind.object_list) == ([], [Run.objects.get()])
