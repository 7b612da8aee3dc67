"""Budgets of the project, which tell by mail what it costs."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from google.cloud.billing import budgets_v1
from google.type.money_pb2 import Money

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command

_THRESHOLDS = (0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class ProjectBudget(Resource):
    """A budget of a month for all that the project costs; it is found again by its display name.

    `account` is the billing account, and `amount` such as `500AUD`. Rights in the project are enough for a
    budget of this project alone
    (https://cloud.google.com/billing/docs/how-to/budget-api-access-control).
    """

    kind: ClassVar[str] = "budget"

    cloud: GoogleCloud
    name: str
    account: str
    amount: str

    def desired(self) -> Settings:
        return {"amount": self.amount, "thresholds": list(_THRESHOLDS)}

    def read(self) -> Settings | None:
        found = self._found()
        if found is None:
            return None
        money = found.amount.specified_amount
        return {
            "amount": f"{money.units}{money.currency_code}",
            "thresholds": sorted(rule.threshold_percent for rule in found.threshold_rules),
        }

    def create(self) -> None:
        request = {"parent": self._parent, "budget": self._wanted()}
        self.cloud.budgets.create_budget(request=request)

    def update(self, current: Settings) -> None:
        found = self._found()
        wanted = self._wanted(name=found.name if found else "")
        mask = {"paths": ["amount", "threshold_rules"]}
        self.cloud.budgets.update_budget(request={"budget": wanted, "update_mask": mask})

    def delete(self) -> None:
        if found := self._found():
            self.cloud.budgets.delete_budget(name=found.name)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        if action != "create":
            words = ("billing", "budgets", action, "BUDGET")
            amount = self.amount if action == "update" else ""
            return [command(*words, billing_account=self.account, budget_amount=amount)]
        return [
            command(
                *("billing", "budgets", "create"),
                *(f"--threshold-rule=percent={percent}" for percent in _THRESHOLDS),
                billing_account=self.account,
                display_name=self.name,
                budget_amount=self.amount,
                filter_projects=f"projects/{self.cloud.project}",
            )
        ]

    def _found(self) -> Any | None:
        request = {"parent": self._parent, "scope": f"projects/{self.cloud.project}"}
        for found in self.cloud.budgets.list_budgets(request=request):
            if found.display_name == self.name:
                return found
        return None

    def _wanted(self, name: str = "") -> budgets_v1.Budget:
        match = re.fullmatch(r"([0-9]+)([A-Z]{3})", self.amount)
        assert match is not None  # the stage file has been checked
        money = Money(units=int(match[1]), currency_code=match[2])
        return budgets_v1.Budget(
            name=name,
            display_name=self.name,
            budget_filter=budgets_v1.Filter(projects=[f"projects/{self.cloud.number}"]),
            amount=budgets_v1.BudgetAmount(specified_amount=money),
            threshold_rules=[
                budgets_v1.ThresholdRule(threshold_percent=percent) for percent in _THRESHOLDS
            ],
        )

    @property
    def _parent(self) -> str:
        return f"billingAccounts/{self.account}"
