"""Credits in the admin site."""

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import OrganisationFactory, UserFactory
from validibot.accounts.models import Organisation, User
from validibot.credits.models import CreditAccount, LedgerEntry

pytestmark = pytest.mark.django_db
ADD = "admin:credits_ledgerentry_add"


@pytest.fixture
def operator(client: Client) -> User:
    user = UserFactory.create(is_superuser=True, is_staff=True)
    client.force_login(user)
    return user


@pytest.fixture
def organisation() -> Organisation:
    return OrganisationFactory.create()


def test_operator_grants_credits(
    client: Client, operator: User, organisation: Organisation
) -> None:
    values = {"organisation": organisation.pk, "kind": "GRANT", "amount": 50, "note": "May"}

    answer = client.post(reverse(ADD), values, follow=True)

    assert "was added successfully" in answer.content.decode()
    assert CreditAccount.objects.get().balance == 50
    entry = LedgerEntry.objects.get()
    assert (entry.organisation, entry.user, entry.note) == (organisation, operator, "May")
    assert organisation.audit_entries.get().action == "credits.grant"


@pytest.mark.parametrize(
    ("kind", "amount", "message"),
    [
        ("GRANT", "-1", "Enter 1 or more"),
        ("ADJUST", "-1", "1 cannot be taken away: 0 credits are left"),
        ("RESERVE", "5", "Select a valid choice"),
        ("GRANT", "many", "Enter a whole number"),
    ],
)
def test_bad_entry_is_refused(
    client: Client, operator: User, organisation: Organisation, kind: str, amount: str, message: str
) -> None:
    values = {"organisation": organisation.pk, "kind": kind, "amount": amount}

    assert message in client.post(reverse(ADD), values).content.decode()
    assert not LedgerEntry.objects.exists()


def test_ledger_has_no_way_to_change_an_entry(client: Client, operator: User) -> None:
    assert client.get(reverse("admin:credits_ledgerentry_changelist")).status_code == 200
    assert client.get(reverse("admin:credits_creditaccount_changelist")).status_code == 200
    assert client.get(reverse(ADD)).status_code == 200
