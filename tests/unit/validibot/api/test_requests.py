"""Rules of every API request: parameters, limits, ETags, counts, repeated requests."""

import datetime as dt
import io

import pytest
import time_machine
from django.core.handlers.asgi import ASGIRequest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.request import Request

from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import User
from validibot.api.base import ApiView
from validibot.workflows.models import Workflow

WORKFLOWS = "orgs/acme/workflows/"


def test_unknown_parameter_is_refused_with_known_ones(alice: Api, people: Workflow) -> None:
    answer = alice.get(f"{WORKFLOWS}?projekt=homes")

    assert answer.status_code == 400
    problem = answer.json()
    assert problem["code"] == "UNKNOWN_PARAMETER"
    assert problem["errors"][0]["field"] == "projekt"
    assert problem["detail"].endswith("It takes: count, cursor, page_size, project.")


def test_parameters_of_published_client_are_taken(alice: Api, people: Workflow) -> None:
    assert alice.get(f"{WORKFLOWS}people/?version=1&project=homes").status_code == 200
    path = f"{WORKFLOWS}people/runs/?version=1&project=homes"
    assert alice.post(path, b"{}", "application/json").status_code in (201, 202)


def test_requests_over_limit_wait_and_polling_is_free(
    alice: Api, people: Workflow, settings: Settings
) -> None:
    run = alice.launch(b"{}").json()["url"].removeprefix("/api/v1/")
    settings.API_REQUESTS_PER_MINUTE = 2
    # In a minute of its own: the launch was counted, too.
    with time_machine.travel(timezone.now() + dt.timedelta(hours=1), tick=False):
        answers = [alice.get(WORKFLOWS) for _ in range(3)]
        poll = alice.get(run)

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert answers[0].headers["RateLimit"] == '"requests";r=1;t=60'
    assert answers[2].headers["Retry-After"] == "60"
    assert answers[2].json()["code"] == "TOO_MANY_REQUESTS"
    assert (poll.status_code, "RateLimit" in poll.headers) == (200, False)


def test_request_whose_view_runs_twice_is_counted_once(alice: Api, settings: Settings) -> None:
    """A view runs again when it reads a large body, see `core.asgi`."""
    settings.API_REQUESTS_PER_MINUTE = 7
    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    view = ApiView()
    for _ in range(2):
        request = Request(ASGIRequest(scope, io.BytesIO()))
        request.user = User.objects.get(email="alice@example.com")
        view._count(request)

    assert view._usage is not None
    assert view._usage.remaining == 6


def test_known_document_is_not_sent_again(alice: Api, people: Workflow) -> None:
    etag = alice.get(f"{WORKFLOWS}people/").headers["ETag"]
    same = alice.get(f"{WORKFLOWS}people/", **{"If-None-Match": f'"other", W/{etag}'})
    Workflow.objects.update(name="Persons")
    changed = alice.get(f"{WORKFLOWS}people/", **{"If-None-Match": etag})

    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert (changed.status_code, changed.json()["name"]) == (200, "Persons")


def test_change_of_outdated_workflow_is_refused(alice: Api, people: Workflow) -> None:
    text = alice.get(f"{WORKFLOWS}people/export/yaml/").content
    etag = alice.get(f"{WORKFLOWS}people/").headers["ETag"]

    def put(slug: str, etag: str) -> int:
        path = f"/api/v1/{WORKFLOWS}{slug}/"
        headers = alice.headers | {"If-Match": etag}
        status: int = alice.client.put(path, text, "application/yaml", headers=headers).status_code
        return status

    assert [put("people", etag), put("people", '"old"'), put("people", "*")] == [200, 412, 200]
    assert put("unknown", etag) == 412


def test_list_is_counted_on_request(alice: Api, people: Workflow) -> None:
    for _ in range(3):
        alice.launch(b"{}")

    counted = alice.get("orgs/acme/runs/?page_size=2&count=true").json()

    assert (counted["count"], len(counted["results"])) == (3, 2)
    assert "count=true" in counted["next"]
    assert alice.get("orgs/acme/runs/").json()["count"] is None
    assert alice.get("orgs/acme/runs/?count=yes").status_code == 400


def test_form_sent_again_with_another_boundary_is_the_same_request(
    alice: Api, people: Workflow
) -> None:
    def send(boundary: str) -> tuple[str, bool]:
        body = "".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {each}\r\n\r\n{text}\r\n"
            for each, text in (('name="name"', "July"), ('name="file"; filename="a.json"', "{}"))
        )
        answer = alice.post(
            f"{WORKFLOWS}people/runs/",
            f"{body}--{boundary}--\r\n",
            f"multipart/form-data; boundary={boundary}",
            **{"Idempotency-Key": "k"},
        )
        return answer.json()["id"], "Idempotent-Replayed" in answer.headers

    first, again = send("one"), send("other")

    assert again == (first[0], True)
    assert not first[1]


@pytest.mark.parametrize(
    ("page", "program", "styles"),
    [("docs", "swagger-ui-bundle.js", 0), ("redoc", "redoc.standalone.js", 2)],
)
def test_page_of_openapi_document_loads_own_files_only(
    client: Client, page: str, program: str, styles: int
) -> None:
    answer = client.get(f"/api/v1/{page}/")
    policy, text = answer.headers["Content-Security-Policy"], answer.content.decode()

    assert answer.status_code == 200
    assert program in text
    assert "//" not in text.replace("<!DOCTYPE html>", "")
    assert "default-src 'self';" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == styles
