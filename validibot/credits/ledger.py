"""The ledger: every change of a balance, by a conditional update and an entry in one transaction.

A launch reserves the price of its steps; the end of the run settles what was used and gives back the
rest. `reserve` and `settle` are called in the transactions that create and end the run, each of which
happens once: a killed worker leaves both or neither, and a unique constraint refuses a repetition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Organisation, User
from validibot.credits.models import CreditAccount, EntryKind, LedgerEntry

# The largest amount of one grant; sums of many stay within 64 bits.
MAX_AMOUNT = 10**12


class NotEnoughCredits(Exception):
    """The balance does not cover the price of a run."""

    def __init__(self, balance: int, price: int) -> None:
        super().__init__(f"The run costs {price} credits, and {balance} are left.")
        self.balance = balance
        self.price = price


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedRun:
    """A run as the ledger knows it."""

    run: UUID
    organisation_id: int
    workflow: str
    user_id: int | None

    def entry(
        self, kind: EntryKind, amount: int, *, step: int = 0, validator: str = ""
    ) -> LedgerEntry:
        return LedgerEntry(
            organisation_id=self.organisation_id,
            kind=kind,
            amount=amount,
            run=self.run,
            step=step,
            workflow=self.workflow,
            validator=validator,
            user_id=self.user_id,
        )


@dataclass(frozen=True, slots=True)
class UsedStep:
    """A step that is to be paid for."""

    order: int
    validator: str
    price: int


def balance_of(organisation: Organisation) -> int | None:
    """Return the credits that are left, or None for an organisation without a limit."""
    accounts = CreditAccount.objects.filter(organisation=organisation, is_limited=True)
    return accounts.values_list("balance", flat=True).first()


def reserve(run: ChargedRun, price: int) -> bool:
    """Reserve the price of a run; return whether the organisation has a limit.

    Call it in the transaction that creates the run, late: it locks the balance until the commit.
    Raises NotEnoughCredits.
    """
    account = CreditAccount.objects.filter(organisation=run.organisation_id, is_limited=True)
    if not account.filter(balance__gte=price).update(balance=F("balance") - price):
        balance = account.values_list("balance", flat=True).first()
        if balance is None:
            return False
        raise NotEnoughCredits(balance, price)
    if price:
        run.entry(EntryKind.RESERVE, -price).save(force_insert=True)
    return True


def settle(run: ChargedRun, reserved: int, used: Iterable[UsedStep]) -> None:
    """Settle the `used` steps of a run that ends, and give back what else was `reserved`.

    Call it in the transaction that ends the run.
    """
    entries = [
        run.entry(EntryKind.SETTLE, step.price, step=step.order, validator=step.validator)
        for step in used
        if step.price
    ]
    rest = reserved - sum(entry.amount for entry in entries)
    if rest:
        entries.append(run.entry(EntryKind.REFUND, rest))
    LedgerEntry.objects.bulk_create(entries)
    if rest:
        account = CreditAccount.objects.filter(organisation=run.organisation_id)
        account.update(balance=F("balance") + rest)


def grant(
    organisation: Organisation, amount: int, *, user: User | None = None, note: str = ""
) -> LedgerEntry:
    """Give credits to an organisation, which has a limit from then on. Raises ValidationError."""
    if amount < 1:
        raise ValidationError({"amount": _("Enter 1 or more: a grant adds credits.")})
    return _change(organisation, EntryKind.GRANT, amount, user, note)


def adjust(
    organisation: Organisation, amount: int, *, user: User | None = None, note: str = ""
) -> LedgerEntry:
    """Correct the balance of an organisation by a signed amount. Raises ValidationError."""
    if amount == 0:
        raise ValidationError({"amount": _("Enter another number than 0.")})
    return _change(organisation, EntryKind.ADJUST, amount, user, note)


def _change(
    organisation: Organisation, kind: EntryKind, amount: int, user: User | None, note: str
) -> LedgerEntry:
    if abs(amount) > MAX_AMOUNT:
        message = _("%(amount)s is too large; enter at most %(limit)s.")
        raise ValidationError(
            {"amount": message % {"amount": f"{amount:,}", "limit": f"{MAX_AMOUNT:,}"}}
        )
    with transaction.atomic():
        CreditAccount.objects.get_or_create(organisation=organisation)
        account = CreditAccount.objects.filter(organisation=organisation)
        if not account.filter(balance__gte=-amount).update(balance=F("balance") + amount):
            message = _("%(amount)s cannot be taken away: %(balance)s credits are left.")
            names = {"amount": f"{-amount:,}", "balance": f"{account.get().balance:,}"}
            raise ValidationError({"amount": message % names})
        audit.record(organisation, f"credits.{kind.lower()}", note, {"amount": (0, amount)})
        return LedgerEntry.objects.create(
            organisation=organisation, kind=kind, amount=amount, user=user, note=note
        )
