"""Credits of runs: what launches reserve, what ends settle, and what the ledger then sums to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.factories import OrganisationFactory, StepFactory, UserFactory, launched
from validibot.accounts.models import Organisation
from validibot.credits import ledger
from validibot.credits.ledger import ChargedRun, NotEnoughCredits
from validibot.credits.models import CreditAccount, EntryKind, LedgerEntry
from validibot.runs.access import CreditsExhausted, RunLimits
from validibot.runs.execute import execute
from validibot.runs.lease import RunBusy
from validibot.runs.lifecycle import cancel_run, end_run
from validibot.runs.models import Run
from validibot.runs.states import RunStatus
from validibot.workflows.models import Step

pytestmark = pytest.mark.django_db
PRICE = 3


@pytest.fixture
def step() -> Step:
    """The first of two steps, of a workflow that costs 6 credits a run."""
    first = StepFactory.create(validator__price=PRICE)
    StepFactory.create(
        workflow=first.workflow, order=2, validator=first.validator, when="p.name == 'Bob'"
    )
    return first


@pytest.fixture
def organisation(step: Step) -> Organisation:
    found = step.workflow.organisation
    ledger.grant(found, 10)
    return found


def balance(organisation: Organisation) -> int:
    """Return the balance, which must be the sum of the entries that change it."""
    entries = LedgerEntry.objects.filter(organisation=organisation).exclude(kind=EntryKind.SETTLE)
    total = entries.aggregate(total=Sum("amount"))["total"] or 0
    found = CreditAccount.objects.get(organisation=organisation).balance
    assert found == total
    return int(found)


def entries_of(run: Run) -> list[tuple[str, int]]:
    found = LedgerEntry.objects.filter(run=run.pk).order_by("pk")
    return list(found.values_list("kind", "amount"))


def test_run_that_ends_settles_its_steps_and_gives_back_skipped_ones(
    step: Step, organisation: Organisation
) -> None:
    run = launched(step, user=UserFactory.create())
    assert (run.credits, balance(organisation)) == (6, 4)

    execute(run.pk)

    assert entries_of(run) == [("RESERVE", -6), ("SETTLE", 3), ("REFUND", 3)]
    assert balance(organisation) == 7
    settled = LedgerEntry.objects.get(kind="SETTLE")
    assert (settled.user, settled.workflow) == (run.user, run.workflow.slug)
    assert settled.validator == step.validator.slug


@pytest.mark.parametrize("status", [RunStatus.CANCELED, RunStatus.FAILED, RunStatus.TIMED_OUT])
def test_run_that_ends_without_result_gives_back_everything(
    step: Step, organisation: Organisation, status: RunStatus
) -> None:
    run = launched(step)
    if status == RunStatus.TIMED_OUT:
        Run.objects.update(status="RUNNING")
        run.steps.filter(order=1).update(status="PASSED")

    for _ in range(2):
        end_run(Run.objects.all(), run.pk, status, actor="test")

    assert entries_of(run) == [("RESERVE", -6), ("REFUND", 6)]
    assert balance(organisation) == 10


def test_step_under_way_is_paid_for_when_its_run_is_cancelled(
    step: Step, organisation: Organisation
) -> None:
    run = launched(step)
    Run.objects.update(status="RUNNING", started_at=run.created_at)
    run.steps.filter(order=1).update(status="RUNNING")

    cancel_run(run.pk, actor="ada")

    assert entries_of(run) == [("RESERVE", -6), ("SETTLE", 3), ("REFUND", 3)]


def test_retry_cancelled_before_its_start_gives_back_everything(
    step: Step, organisation: Organisation
) -> None:
    run = launched(step)
    run.steps.filter(order=1).update(status="PASSED")

    cancel_run(run.pk, actor="ada")

    assert entries_of(run) == [("RESERVE", -6), ("REFUND", 6)]


def test_launch_beyond_the_balance_is_refused_and_leaves_nothing(
    step: Step, organisation: Organisation
) -> None:
    launched(step)

    with pytest.raises(CreditsExhausted, match=r"costs 6 credits, and .* has 4 left") as refusal:
        launched(step)

    assert (refusal.value.status, refusal.value.balance, refusal.value.price) == (402, 4, 6)
    assert Run.objects.count() == 1
    assert balance(organisation) == 4


def test_launch_that_loses_the_race_for_credits_is_refused(
    step: Step, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before the transaction found enough, as that of a launch at the same moment."""
    limits = RunLimits(has_credits=True, has_concurrency=False)
    monkeypatch.setattr("validibot.runs.start.check_organisation", lambda *_, **__: limits)
    launched(step)

    with pytest.raises(CreditsExhausted):
        launched(step)
    assert (Run.objects.count(), balance(organisation)) == (1, 4)


@pytest.mark.parametrize("is_limited", [False, None])
def test_organisation_without_limit_has_no_entries(step: Step, is_limited: bool | None) -> None:
    if is_limited is not None:
        CreditAccount.objects.create(organisation=step.workflow.organisation, is_limited=False)

    run = launched(step)
    execute(run.pk)

    assert (run.credits, LedgerEntry.objects.exists()) == (None, False)


def test_price_at_launch_holds_until_the_end(step: Step, organisation: Organisation) -> None:
    run = launched(step)
    step.validator.price = 9
    step.validator.save()

    execute(run.pk)

    assert balance(organisation) == 7


def test_price_is_that_of_operator_deployment_or_manifest(settings: object) -> None:
    validator = StepFactory.build(validator__engine="", validator__image="x").validator

    assert validator.credits == 10
    validator.manifest_price = 30
    assert validator.credits == 30
    settings.CREDITS_PER_CONTAINER_STEP = 50  # type: ignore[attr-defined]
    assert validator.credits == 50
    validator.price = 0
    assert validator.credits == 0


def test_database_refuses_negative_balance(organisation: Organisation) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        CreditAccount.objects.update(balance=-1)


def test_entries_are_neither_changed_nor_deleted(organisation: Organisation) -> None:
    entry = LedgerEntry.objects.get()
    for change in (lambda: LedgerEntry.objects.update(amount=11), entry.delete):
        with (
            pytest.raises(DatabaseError, match="cannot be changed or deleted"),
            transaction.atomic(),
        ):
            change()

    organisation.deletion_requested_at = "2026-01-01T00:00Z"
    organisation.save()
    organisation.workflows.all().delete()
    organisation.delete()
    assert not LedgerEntry.objects.exists()


def test_ledger_survives_the_account_of_its_user(step: Step, organisation: Organisation) -> None:
    user = UserFactory.create()
    run = launched(step, user=user)

    user.delete()

    assert entries_of(run) == [("RESERVE", -6)]


@pytest.mark.parametrize(
    ("change", "amount", "message"),
    [
        (ledger.grant, 0, "Enter 1 or more"),
        (ledger.grant, 10**13, "10,000,000,000,000 is too large"),
        (ledger.adjust, 0, "another number than 0"),
        (ledger.adjust, -11, "11 cannot be taken away: 10 credits are left"),
    ],
)
def test_impossible_change_of_a_balance_is_refused(
    organisation: Organisation, change: object, amount: int, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        change(organisation, amount)  # type: ignore[operator]
    assert balance(organisation) == 10


class LedgerKilled(BaseException):
    """The process ended here: nothing that it does later has an effect."""


@contextmanager
def killed_after(statements: int) -> Iterator[None]:
    """Raise LedgerKilled in place of every statement after so many; transactions are rolled back."""
    done = 0

    def count(execute: Callable[..., object], sql: str, *args: object) -> object:
        nonlocal done
        if not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            if done >= statements:
                raise LedgerKilled
            done += 1
        return execute(sql, *args)

    with suppress(LedgerKilled, CreditsExhausted, RunBusy), connection.execute_wrapper(count):
        yield


ENDS: list[Callable[[Run], object]] = [
    lambda run: execute(run.pk),
    lambda run: cancel_run(run.pk, actor="ada"),
    lambda run: end_run(Run.objects.all(), run.pk, RunStatus.FAILED, actor="test"),
    lambda run: end_run(Run.objects.all(), run.pk, RunStatus.TIMED_OUT, actor="test"),
]
ATTEMPTS = st.tuples(st.integers(0, 2), st.integers(0, 20), st.sampled_from(ENDS))


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(ATTEMPTS, min_size=2, max_size=8))
def test_ledger_sums_to_zero_whatever_is_repeated_or_killed(
    step: Step, attempts: list[tuple[int, int, Callable[[Run], object]]]
) -> None:
    """Each attempt starts its run, or ends the one that was started, until it is killed."""
    with transaction.atomic():
        organisation = step.workflow.organisation
        ledger.grant(organisation, 2 * 2 * PRICE)
        runs: dict[int, Run] = {}
        for number, statements, end in attempts:
            with killed_after(statements):
                if number in runs:
                    end(runs[number])
                else:
                    runs[number] = launched(step)

        assert balance(organisation) >= 0
        assert set(Run.objects.all()) == set(runs.values())
        for run in Run.objects.all():
            total = LedgerEntry.objects.filter(run=run.pk).aggregate(total=Sum("amount"))["total"]
            assert total == (0 if run.ended_at else -2 * PRICE)
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_concurrent_launches_spend_no_more_than_the_balance() -> None:
    organisation = OrganisationFactory.create()
    ledger.grant(organisation, 7)
    outcomes: list[bool] = []
    ready = threading.Barrier(4)

    def launch() -> None:
        run = ChargedRun(run=uuid4(), organisation_id=organisation.pk, workflow="w", user_id=None)
        ready.wait()
        try:
            with transaction.atomic():
                outcomes.append(ledger.reserve(run, 3))
        except NotEnoughCredits:
            outcomes.append(False)
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False, False, True, True]
    assert balance(organisation) == 1
    organisation.deletion_requested_at = "2026-01-01T00:00Z"
    organisation.save()
    organisation.delete()
