"""Budgets of one project: rights in the project, Google's defaults, and what is refused."""

from typing import Any

import pytest

from devenv.gcp import budgets
from devenv.gcp.budgets import BudgetsService
from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, MemoryJournal, MemoryStore, no_faults
from tests.unit.devenv.gcp.web import Web

ACCOUNT = "/v1/billingAccounts/01AB23-456789-CDEF01/budgets"
BUDGET: dict[str, Any] = {
    "displayName": "prod",
    "budgetFilter": {"projects": ["projects/p"]},
    "amount": {"specifiedAmount": {"currencyCode": "AUD", "units": "500"}},
    "thresholdRules": [{"thresholdPercent": 0.5}],
}


class BudgetsBench:
    def __init__(self) -> None:
        self.guard = FakeGuard()
        self.store = MemoryStore()
        service = BudgetsService(
            config=CloudConfig(project="p"), store=self.store, guard=self.guard
        )
        calls = Calls(Everybody(), MemoryJournal(), no_faults())
        app = RestApp(service.rpcs(), calls)
        self.web = Web(app, base="http://billingbudgets.googleapis.com")


@pytest.fixture
def bench() -> BudgetsBench:
    return BudgetsBench()


def test_budget_gets_the_defaults_of_google(bench: BudgetsBench) -> None:
    made = bench.web.post(ACCOUNT, json=BUDGET).json()
    listed = bench.web.get(ACCOUNT, params={"scope": "projects/123456789012"}).json()["budgets"]

    assert listed == [made]
    assert made["budgetFilter"] == {
        "projects": ["projects/123456789012"],
        "calendarPeriod": "MONTH",
        "creditTypesTreatment": "INCLUDE_ALL_CREDITS",
    }
    assert made["thresholdRules"] == [{"thresholdPercent": 0.5, "spendBasis": "CURRENT_SPEND"}]


def test_budget_is_changed_by_its_mask_and_deleted(bench: BudgetsBench) -> None:
    made = bench.web.post(ACCOUNT, json=BUDGET).json()
    path = f"/v1/{made['name']}"
    changed = {"displayName": "new", "amount": {"specifiedAmount": {"units": "9"}}}
    after = bench.web.request("PATCH", f"{path}?updateMask=displayName", json=changed).json()
    stale = {"displayName": "late", "etag": made["etag"]}
    conflict = bench.web.request("PATCH", f"{path}?updateMask=displayName", json=stale)
    deleted = [bench.web.request("DELETE", path).status_code for _ in range(2)]

    assert (after["displayName"], after["amount"]) == ("new", made["amount"])
    assert conflict.status_code == 409
    assert deleted == [200, 200]
    assert bench.web.get(path).status_code == 404


def test_budget_of_the_project_needs_rights_there_only(bench: BudgetsBench) -> None:
    bench.web.post(ACCOUNT, json=BUDGET)
    bench.web.post(ACCOUNT, json={**BUDGET, "budgetFilter": {}})
    bench.web.get(ACCOUNT)

    assert bench.guard.asked == [
        ("resourcemanager.projects.get", "projects/p"),
        ("billing.resourcebudgets.write", "projects/p"),
        ("billing.budgets.create", "billingAccounts/01AB23-456789-CDEF01"),
        ("billing.budgets.list", "billingAccounts/01AB23-456789-CDEF01"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount": {}}, "specified_amount or last_period_amount"),
        ({"amount": {"specifiedAmount": {"units": "0"}}}, "must be more than 0"),
        ({"amount": {"specifiedAmount": {"currencyCode": "money"}}}, "'money'"),
        ({"budgetFilter": {"projects": ["projects/other"]}}, "'projects/other'"),
        ({"budgetFilter": {"services": ["services/1"]}}, "budget_filter.services is not emulated"),
        ({"displayName": "x" * 61}, "61 characters"),
        ({"thresholdRules": [{"thresholdPercent": -1}]}, "-1.0; it must be a number"),
        ({"thresholdRules": [{"thresholdPercent": "NaN"}]}, "nan; it must be a number"),
        ({"thresholdRules": [{"thresholdPercent": "Infinity"}]}, "inf; it must be a number"),
    ],
)
def test_invalid_budget_is_refused_by_its_field(
    bench: BudgetsBench, changes: dict[str, Any], message: str
) -> None:
    answer = bench.web.post(ACCOUNT, json={**BUDGET, **changes})

    assert message in answer.json()["error"]["message"]


def test_account_has_only_as_many_budgets_as_at_google(
    bench: BudgetsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "MOST_BUDGETS", 2)
    answers = [bench.web.post(ACCOUNT, json=BUDGET) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert "2 budgets already" in answers[2].json()["error"]["message"]


def test_account_of_another_form_is_refused(bench: BudgetsBench) -> None:
    assert bench.web.post("/v1/billingAccounts/mine/budgets", json=BUDGET).status_code == 400
