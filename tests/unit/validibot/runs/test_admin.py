"""Runs in the admin site: all is shown, nothing can be changed, no secret is seen."""

import pytest
from django.test import Client

from tests.factories import (
    ArtifactFactory,
    AttemptFactory,
    CallbackReceiptFactory,
    FindingFactory,
    RunEventFactory,
)
from validibot.runs.models import Attempt

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _rows() -> None:
    attempt = AttemptFactory.create(nonce_digest="d" * 64)
    CallbackReceiptFactory.create(attempt=attempt)
    FindingFactory.create(step_run=attempt.step_run)
    ArtifactFactory.create(step_run=attempt.step_run)
    RunEventFactory.create(run=attempt.step_run.run)


@pytest.mark.parametrize(
    "name", ["run", "steprun", "attempt", "callbackreceipt", "finding", "artifact"]
)
def test_admin_lists_and_shows_every_kind_of_row(admin_client: Client, name: str) -> None:
    listed = admin_client.get(f"/admin/runs/{name}/")
    assert listed.status_code == 200

    [row] = listed.context["cl"].result_list
    shown = admin_client.get(f"/admin/runs/{name}/{row.pk}/change/")
    assert (shown.status_code, b"_save" in shown.content) == (200, False)


def test_admin_hides_nonce_digest(admin_client: Client) -> None:
    page = admin_client.get(f"/admin/runs/attempt/{Attempt.objects.get().pk}/change/")

    assert b"dddd" not in page.content


@pytest.mark.parametrize(
    "name", ["run", "steprun", "attempt", "callbackreceipt", "finding", "artifact"]
)
def test_admin_deletes_no_part_of_a_result(admin_client: Client, name: str) -> None:
    listed = admin_client.get(f"/admin/runs/{name}/")
    [row] = listed.context["cl"].result_list

    answer = admin_client.post(f"/admin/runs/{name}/{row.pk}/delete/", {"post": "yes"})

    assert (answer.status_code, b"delete_selected" in listed.content) == (403, False)
