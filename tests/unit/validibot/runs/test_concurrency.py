"""Runs at once: which runs are held, who starts them, and what the page says meanwhile."""

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from tests.factories import OrganisationFactory, StepFactory, launched
from validibot.accounts.models import Organisation
from validibot.core.models import SiteSettings
from validibot.runs import sweep
from validibot.runs.concurrency import start_all_held, start_held
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Run
from validibot.runs.progress import progress_of
from validibot.runs.wording import verdict_sentence
from validibot.workflows.models import Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation() -> Organisation:
    return OrganisationFactory.create(concurrent_runs=1)


@pytest.fixture
def step(organisation: Organisation) -> Step:
    return StepFactory.create(workflow__organisation=organisation)


@pytest.fixture
def queued() -> Iterator[list[Run]]:
    """The runs that get a queue entry, in their order; none is executed."""
    found: list[Run] = []
    with patch("validibot.runs.queue.enqueue_run", found.append):
        yield found


def test_runs_above_the_limit_start_one_after_the_other(step: Step, queued: list[Run]) -> None:
    first, second, third = (launched(step) for _ in range(3))
    assert queued == [first]
    assert list(second.events.values_list("kind", flat=True)) == ["created", "held"]

    execute(first.pk)
    assert queued == [first, second]
    cancel_run(second.pk, actor="ada")
    assert queued == [first, second, third]

    third.refresh_from_db()
    assert third.held_at is None
    assert third.events.last().kind == "queued"  # type: ignore[union-attr]


def test_worker_does_not_take_a_held_run(step: Step, queued: list[Run]) -> None:
    launched(step)
    held = launched(step)

    execute(held.pk)
    with patch.object(sweep, "_pending_since", lambda now: now + dt.timedelta(days=1)):
        waiting = sweep._waiting_runs(held.created_at)

    held.refresh_from_db()
    assert (held.status, held in waiting) == ("PENDING", False)


def test_cancelled_held_run_leaves_the_place_to_the_next(step: Step, queued: list[Run]) -> None:
    first, second, third = (launched(step) for _ in range(3))

    cancel_run(second.pk, actor="ada")
    assert queued == [first]
    cancel_run(first.pk, actor="ada")
    assert queued == [first, third]


def test_organisations_do_not_wait_for_each_other(step: Step, queued: list[Run]) -> None:
    launched(step)
    launched(step)
    other = launched(StepFactory.create(workflow__organisation__concurrent_runs=1))

    assert (other.held_at, queued[-1]) == (None, other)


@pytest.mark.parametrize(("own", "held"), [(None, True), (0, False), (2, False)])
def test_site_setting_limits_organisations_without_a_number(
    step: Step, organisation: Organisation, queued: list[Run], own: int | None, held: bool
) -> None:
    SiteSettings(concurrent_runs_per_organisation=1).save()
    organisation.concurrent_runs = own
    organisation.save()
    launched(step)

    assert bool(launched(step).held_at) is held


def test_sweep_starts_what_a_larger_limit_allows(
    step: Step, organisation: Organisation, queued: list[Run]
) -> None:
    runs = [launched(step) for _ in range(4)]
    assert start_all_held() == 0
    Organisation.objects.update(concurrent_runs=3)

    assert start_all_held() == 2
    assert queued == runs[:3]
    Organisation.objects.update(concurrent_runs=None)
    assert start_all_held() == 1


def test_new_run_does_not_overtake_those_that_a_raised_limit_allows(
    step: Step, queued: list[Run], django_capture_on_commit_callbacks: Any
) -> None:
    runs = [launched(step) for _ in range(3)]
    Organisation.objects.update(concurrent_runs=3)

    with django_capture_on_commit_callbacks(execute=True):
        runs.append(launched(step))

    assert queued == runs[:3]
    assert Run.objects.filter(held_at__isnull=False).get() == runs[3]


def test_progress_counts_the_runs_before_a_held_one(
    step: Step, queued: list[Run], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    *_, last = (launched(step) for _ in range(3))

    with django_assert_max_num_queries(3):
        found = progress_of(last)

    assert found is not None
    assert "as many runs under way as it may have at once (1)" in found.reason
    assert "Runs that wait before this one: 1." in found.reason
    assert found.since == last.held_at
    assert verdict_sentence(last) == "The run waits for another run to end."


@pytest.mark.django_db(transaction=True)
def test_start_during_an_end_is_not_overlooked(step: Step, queued: list[Run]) -> None:
    """The end has looked for held runs and is not committed; the start waits for its commit."""
    first = launched(step)
    started: list[Run] = []

    def start() -> None:
        try:
            started.append(launched(step))
        finally:
            connection.close()

    thread = threading.Thread(target=start)
    with transaction.atomic():
        cancel_run(first.pk, actor="ada")
        thread.start()
    thread.join()

    assert started[0].held_at is None
    assert start_held(step.workflow.organisation_id) == 0
