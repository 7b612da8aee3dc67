"""The live part of a run's page."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from tests.factories import MembershipFactory, RunFactory
from validibot.accounts.scope import Scope, scope_of
from validibot.runs import events
from validibot.runs.models import Run
from validibot.web import stream


async def three_changes(run_id: Any, *, every: float) -> AsyncIterator[None]:
    for _ in range(3):
        yield


@pytest.fixture
def running(db: None) -> Run:
    membership = MembershipFactory.create()
    return RunFactory.create(
        workflow__organisation=membership.organisation, user=membership.user, status="RUNNING"
    )


def scope(run: Run) -> Scope:
    assert run.user
    return scope_of(run.user, run.organisation.slug)


@pytest.mark.django_db(transaction=True)
def test_unchanged_page_is_not_sent_again(running: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "changes", three_changes)

    @async_to_sync
    async def first_two(scope: Scope) -> list[str]:
        watched = stream.watch(scope, running.pk, may_cancel=True)
        first = await anext(watched)
        monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
        second = await anext(watched)
        await watched.aclose()  # type: ignore[attr-defined]
        return [first, second]

    sent = first_two(scope(running))

    assert sent[0].startswith("event: run\n")
    assert "csrfmiddlewaretoken" in sent[0]
    assert sent[1] == ": no change\n\n"
    assert stream._feeds == {}


@pytest.mark.django_db(transaction=True)
def test_watchers_of_a_run_share_one_rendering(
    running: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "changes", three_changes)
    rendered: list[Any] = []

    def render(scope: Scope, pk: Any) -> tuple[str, bool]:
        rendered.append(pk)
        return f"page {len(rendered)}", len(rendered) == 3

    monkeypatch.setattr(stream, "_render", render)

    @async_to_sync
    async def watch_five_times(scope: Scope) -> list[str]:
        watchers = [stream.watch(scope, running.pk, may_cancel=False) for _ in range(5)]
        firsts = [await anext(watcher) for watcher in watchers]
        rests = [[event async for event in watcher] for watcher in watchers]
        return [firsts[0], *rests[0], *(rest[-1] for rest in rests)]

    sent = watch_five_times(scope(running))

    assert len(rendered) == 3
    assert sent[0].startswith("event: run\n")
    assert set(sent[-5:]) == {"event: end\ndata: \n\n"}
    assert stream._feeds == {}


@pytest.mark.django_db(transaction=True)
def test_failed_rendering_ends_the_stream(running: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "changes", three_changes)
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)

    def fail(*_: Any) -> tuple[str, bool]:
        raise RuntimeError("no database")

    monkeypatch.setattr(stream, "_render", fail)

    @async_to_sync
    async def watch(scope: Scope) -> list[str]:
        return [event async for event in stream.watch(scope, running.pk, may_cancel=False)]

    with pytest.raises(RuntimeError, match="no database"):
        watch(scope(running))
    assert stream._feeds == {}


@pytest.mark.django_db(transaction=True)
def test_stream_without_asgi_answers_204(client: Client) -> None:
    membership = MembershipFactory.create()
    organisation = membership.organisation
    run = RunFactory.create(workflow__organisation=organisation, user=membership.user)
    client.force_login(membership.user)

    answer = client.get(f"/app/orgs/{organisation.slug}/runs/{run.pk}/stream/")

    assert answer.status_code == 204
