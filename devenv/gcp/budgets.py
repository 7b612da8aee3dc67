"""Cloud Billing Budget v1: budgets of the project, which watch nothing.

After https://cloud.google.com/billing/docs/reference/budget/rest/v1/billingAccounts.budgets. A budget of
one project needs rights in the project alone
(https://cloud.google.com/billing/docs/how-to/budget-api-access-control); here no role gives rights on a
billing account, so that any other budget is refused.
"""

import hashlib
import math
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import empty_pb2, json_format

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import Aborted, InvalidArgument, NotFound, ResourceExhausted
from devenv.gcp.messages import every, masked, page, refuse_unemulated
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

types = client_types("google.cloud.billing.budgets_v1")

BudgetMessage: Any = types.Budget.pb()
Listed: Any = types.ListBudgetsResponse.pb()

_SERVICE = "google.cloud.billing.budgets.v1.BudgetService"
_ACCOUNT = re.compile(r"billingAccounts/[0-9A-F]{6}(-[0-9A-F]{6}){2}")
_MONEY = every("currency_code", "units", "nanos")
_FIELDS = every(
    *("name", "display_name", "etag"),
    budget_filter=every("projects", "credit_types_treatment", "calendar_period"),
    amount=every(specified_amount=_MONEY, last_period_amount=every()),
    threshold_rules=every("threshold_percent", "spend_basis"),
    notifications_rule=every(
        *("pubsub_topic", "schema_version", "monitoring_notification_channels"),
        *("disable_default_iam_recipients", "enable_project_level_recipients"),
    ),
)
MOST_BUDGETS = 50_000  # of a billing account: https://cloud.google.com/billing/quotas
_MOST_CHANNELS, _LONGEST_NAME, _LARGEST_PAGE = 5, 60, 100
_MONTH, _ALL_CREDITS, _CURRENT_SPEND = 1, 1, 1


class BudgetsService(CloudService):
    """The budgets of all billing accounts whose ids are well formed: the project has any of them."""

    def __init__(self, *, config: CloudConfig, store: Store, guard: Guard) -> None:
        self._project, self._number = config.project, config.number
        self._table = store.table("billing_budgets")
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        many = "/v1/{parent=billingAccounts/*}/budgets"
        one, nested = "billingAccounts/*/budgets/*", "/v1/{budget.name=billingAccounts/*/budgets/*}"
        for name, response, handle, rule in (
            ("CreateBudget", BudgetMessage, self.create, HttpRule("POST", many, "budget")),
            ("GetBudget", BudgetMessage, self.get, HttpRule("GET", f"/v1/{{name={one}}}")),
            ("ListBudgets", Listed, self.list, HttpRule("GET", many)),
            ("UpdateBudget", BudgetMessage, self.update, HttpRule("PATCH", nested, "budget")),
            (
                "DeleteBudget",
                empty_pb2.Empty,
                self.delete,
                HttpRule("DELETE", f"/v1/{{name={one}}}"),
            ),
        ):
            request = getattr(types, f"{name}Request").pb()
            yield Rpc(f"{_SERVICE}/{name}", request, response, handle, (rule,))

    def view(self, _query: Mapping[str, str]) -> dict[str, Any]:
        """Return the budgets of all billing accounts for the control API."""
        found = [BudgetMessage.FromString(value) for _, value in self._table.scan("")]
        return {"budgets": [json_format.MessageToDict(each) for each in found]}

    async def create(self, request: Any, call: ApiCall) -> Any:
        _check_account(request.parent)
        self._allow(call, request.budget, request.parent, "create")
        if sum(1 for _ in self._table.scan(f"{request.parent}/budgets/")) >= MOST_BUDGETS:
            raise ResourceExhausted(
                f"{request.parent} has {MOST_BUDGETS} budgets already, the most of a billing account."
            )
        budget = self._complete(request.budget)
        budget.name = f"{request.parent}/budgets/{uuid.uuid4()}"
        return self._put(budget)

    async def get(self, request: Any, call: ApiCall) -> Any:
        budget = self._find(request.name)
        self._allow(call, budget, request.name, "get")
        return self._existing(budget, request.name)

    async def list(self, request: Any, call: ApiCall) -> Any:
        """List the budgets of an account, or those of the project if it is the scope."""
        _check_account(request.parent)
        if request.scope:
            self._check_project(request.scope, "scope")
            self._allow_in_project(call, "read")
        else:
            self._guard.require(call.caller, "billing.budgets.list", request.parent)
        rows = self._table.scan(f"{request.parent}/budgets/")
        found = {name: BudgetMessage.FromString(value) for name, value in rows}
        if request.scope:
            found = {name: each for name, each in found.items() if each.budget_filter.projects}
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        return Listed(budgets=[found[name] for name in names], next_page_token=token)

    async def update(self, request: Any, call: ApiCall) -> Any:
        name = request.budget.name
        found = self._find(name)
        self._allow(call, found, name, "update")
        before = self._existing(found, name)
        if request.budget.etag not in ("", before.etag):
            raise Aborted(
                f"budget.etag is {request.budget.etag[:100]!r}; it is {before.etag!r} now."
            )
        mask = request.update_mask
        budget = self._complete(masked(before, request.budget, mask))
        # A change may not take it out of the project.
        self._allow(call, budget, name, "update")
        budget.name = name
        return self._put(budget)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        """Delete a budget; one that is not there is deleted already, as the API says."""
        budget = self._find(request.name)
        self._allow(call, budget, request.name, "delete")
        self._table.delete(request.name)
        return empty_pb2.Empty()

    def _complete(self, given: Any) -> Any:
        """Return a budget as Google keeps it. Raises InvalidArgument or Unimplemented."""
        refuse_unemulated(given, _FIELDS, where="budget")
        budget = BudgetMessage()
        budget.CopyFrom(given)
        if len(budget.display_name) > _LONGEST_NAME:
            raise InvalidArgument(
                f"budget.display_name has {len(budget.display_name)} characters; at most {_LONGEST_NAME}."
            )
        _check_amount(budget.amount)
        for rule in budget.threshold_rules:
            if not 0 <= rule.threshold_percent < math.inf:  # nor a NaN
                raise InvalidArgument(
                    f"budget.threshold_rules.threshold_percent is {rule.threshold_percent}; it must be a "
                    "number that is not negative."
                )
            rule.spend_basis = rule.spend_basis or _CURRENT_SPEND
        wanted = budget.budget_filter
        for each in wanted.projects:
            self._check_project(each, "budget.budget_filter.projects")
        wanted.projects[:] = [f"projects/{self._number}" for _ in wanted.projects[:1]]
        wanted.calendar_period = wanted.calendar_period or _MONTH
        wanted.credit_types_treatment = wanted.credit_types_treatment or _ALL_CREDITS
        _check_notifications(budget.notifications_rule)
        return budget

    def _put(self, budget: Any) -> Any:
        budget.ClearField("etag")
        budget.etag = hashlib.sha256(budget.SerializeToString()).hexdigest()[:16]
        self._table.put(budget.name, budget.SerializeToString())
        return budget

    def _find(self, name: str) -> Any | None:
        account, _, short = name.partition("/budgets/")
        _check_account(account)
        value = self._table.get(name) if short else None
        return None if value is None else BudgetMessage.FromString(value)

    def _existing(self, budget: Any | None, name: str) -> Any:
        if budget is None:
            raise NotFound(f"Budget {name[:200]} was not found.")
        return budget

    def _allow(self, call: ApiCall, budget: Any | None, resource: str, verb: str) -> None:
        """Ask for rights in the project if a budget is its own, else on the billing account.

        A budget that does not exist is taken for one of the project.
        """
        if budget is None or len(budget.budget_filter.projects) == 1:
            self._allow_in_project(call, "read" if verb == "get" else "write")
        else:
            account = resource.partition("/budgets/")[0]
            self._guard.require(call.caller, f"billing.budgets.{verb}", account)

    def _allow_in_project(self, call: ApiCall, verb: str) -> None:
        project = f"projects/{self._project}"
        for permission in ("resourcemanager.projects.get", f"billing.resourcebudgets.{verb}"):
            self._guard.require(call.caller, permission, project)

    def _check_project(self, name: str, where: str) -> None:
        known = (f"projects/{self._project}", f"projects/{self._number}")
        if name not in known:
            raise InvalidArgument(
                f"{where} is {name[:100]!r}; the only project of the emulated account is {known[0]}."
            )


def _check_account(name: str) -> None:
    if not _ACCOUNT.fullmatch(name):
        raise InvalidArgument(
            f"{name[:100]!r} must be formatted: billingAccounts/XXXXXX-XXXXXX-XXXXXX, in hexadecimal digits."
        )


def _check_amount(amount: Any) -> None:
    if amount.HasField("last_period_amount"):
        return
    money = amount.specified_amount
    if not amount.HasField("specified_amount"):
        raise InvalidArgument("budget.amount must have specified_amount or last_period_amount.")
    if money.currency_code and not re.fullmatch("[A-Z]{3}", money.currency_code):
        raise InvalidArgument(
            f"budget.amount.specified_amount.currency_code is {money.currency_code[:20]!r}; it must be "
            "that of the billing account, such as USD."
        )
    if money.units < 0 or money.nanos < 0 or not (money.units or money.nanos):
        raise InvalidArgument("budget.amount.specified_amount must be more than 0.")


def _check_notifications(rule: Any) -> None:
    if len(rule.monitoring_notification_channels) > _MOST_CHANNELS:
        raise InvalidArgument(
            "budget.notifications_rule.monitoring_notification_channels has more than "
            f"{_MOST_CHANNELS} channels."
        )
    if rule.pubsub_topic and rule.schema_version not in ("", "1.0"):
        raise InvalidArgument("budget.notifications_rule.schema_version must be 1.0.")
    if rule.pubsub_topic:
        rule.schema_version = "1.0"
