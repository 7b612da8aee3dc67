"""The resources of a stage, in the order in which they are made."""

from collections.abc import Iterator
from typing import Any

from deploy.google import GoogleCloud
from deploy.layout.alerts import StageAlerts
from deploy.layout.data import StageData
from deploy.layout.names import StageNames
from deploy.layout.product import CheckRevision, StageProduct
from deploy.layout.roles import StageRoles
from deploy.resource import Resource
from deploy.resources.account import Account
from deploy.resources.apis import Apis
from deploy.resources.budget import ProjectBudget
from deploy.resources.custom_role import CustomRole
from deploy.resources.domain_mapping import DomainMapping
from deploy.resources.job import Job
from deploy.resources.monitoring import AlertAddress, AlertPolicy, LogMetric, UptimeCheck
from deploy.resources.project_role import ConditionalRole
from deploy.resources.schedule import SchedulerEntry
from deploy.resources.secret import Secret
from deploy.resources.sql_instance import SqlInstance
from deploy.stage import Stage

APIS = (
    *("artifactregistry", "cloudresourcemanager", "cloudscheduler", "cloudtasks", "iam"),
    *(
        "iamcredentials",
        "logging",
        "monitoring",
        "run",
        "secretmanager",
        "serviceusage",
        "sqladmin",
        "storage",
        "sts",
    ),
)

_NETWORK_APIS = ("compute", "servicenetworking")
_BUDGET_APIS = ("billingbudgets",)


class Layout:
    """The resources of one stage; `check` is the same as for StageProduct."""

    def __init__(self, stage: Stage, cloud: GoogleCloud, check: CheckRevision) -> None:
        self.stage = stage
        self.cloud = cloud
        self.names = StageNames(stage, cloud)
        self.data = StageData(self.names)
        self.product = StageProduct(self.names, self.data, check)
        self._alerts = StageAlerts(self.names, self.data)
        self._roles = StageRoles(self.names, self.data, self.product)

    def resources(self) -> Iterator[Resource]:
        """Yield every resource, each after those that it needs."""
        yield Apis(cloud=self.cloud, name=self.cloud.project, services=self._apis())
        yield from self._roles.accounts()
        yield self.data.repository
        yield from (self.data.files, self.data.media)
        yield from self.data.database()
        yield from self.data.all_secrets
        yield from self.data.users_of(self.data.secrets)
        yield from self.data.queues()
        yield from self.product.validator_jobs()
        # Before those on single jobs, which go where the worker has a role for all of them.
        yield from self._roles.for_custom_validators()
        yield from self._roles.on_resources()
        yield from self._roles.on_database()
        yield from self.product.release()
        yield from self.product.services
        yield from self._roles.on_services()
        yield from self.product.traffic
        yield from self.product.schedules()
        yield from self._alerts.resources()
        if budget := self.stage.budget:
            name, account = self.stage.name, budget.account
            yield ProjectBudget(cloud=self.cloud, name=name, account=account, amount=budget.amount)
        # Google refuses a domain that the deployer does not own; all else is there by then.
        if mapping := self.product.mapping:
            yield mapping

    def _apis(self) -> tuple[str, ...]:
        instance = self.data.instance
        networks: tuple[str, ...] = ("compute",) if self.stage.custom_subnetwork else ()
        if instance and instance.network:
            networks = _NETWORK_APIS
        return (
            *APIS,
            *networks,
            *(_BUDGET_APIS if self.stage.budget or self.stage.former_budget_accounts else ()),
        )

    def strays(self) -> Iterator[Resource]:
        """Yield resources that were made for this stage and that it no longer wants."""
        wanted = {resource.address for resource in self.resources()}
        kinds: tuple[Any, ...] = (
            AlertPolicy,
            AlertAddress,
            UptimeCheck,
            LogMetric,
            DomainMapping,
            SchedulerEntry,
            Job,
            ConditionalRole,
            CustomRole,
            Secret,
            SqlInstance,
            Account,
        )
        for kind in kinds:
            for found in kind.existing(self.cloud, self.stage.name):
                if found.address not in wanted:
                    yield found
        for account in self.stage.former_budget_accounts:
            yield ProjectBudget(cloud=self.cloud, name=self.stage.name, account=account, amount="")
