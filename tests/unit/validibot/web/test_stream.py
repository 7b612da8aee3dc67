"""The live part of a run's page."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client, RequestFactory

from tests.factories import MembershipFactory, RunFactory
from validibot.accounts.models import Organisation, User
from validibot.accounts.scope import scope_of
from validibot.core.asgi import in_thread
from validibot.runs import events
from validibot.runs.models import Run
from validibot.web.views import stream


async def three_times(run_id: Any, *, every: float) -> AsyncIterator[None]:
    for _ in range(3):
        yield


@pytest.mark.django_db(transaction=True)
def test_a_page_that_did_not_change_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "changes", three_times)
    membership = MembershipFactory.create()
    run = RunFactory.create(
        workflow__organisation=membership.organisation, user=membership.user, status="RUNNING"
    )

    sent = watch(membership.user, membership.organisation, run)

    assert sent[0].startswith("event: run\n")
    assert "csrfmiddlewaretoken" in sent[0]
    assert sent[1:] == [": still here\n\n"] * 2


@async_to_sync
async def watch(user: User, organisation: Organisation, run: Run) -> list[str]:
    request = RequestFactory().get("/")
    scope = await in_thread(scope_of)(user, organisation.slug)
    return [sent async for sent in stream._events(request, scope, run.pk)]


@pytest.mark.django_db(transaction=True)
def test_a_server_with_threads_alone_has_nothing_to_stream(client: Client) -> None:
    membership = MembershipFactory.create()
    organisation = membership.organisation
    run = RunFactory.create(workflow__organisation=organisation, user=membership.user)
    client.force_login(membership.user)

    answer = client.get(f"/app/orgs/{organisation.slug}/runs/{run.pk}/stream/")

    assert answer.status_code == 204
