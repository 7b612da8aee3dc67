"""Google's clients for one project and region, made when they are first used."""

import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from google.api_core.future.polling import DEFAULT_POLLING
from google.cloud import (
    artifactregistry_v1,
    iam_admin_v1,
    iam_credentials_v1,
    monitoring_v3,
    resourcemanager_v3,
    run_v2,
    scheduler_v1,
    secretmanager_v1,
    service_usage_v1,
    sqladmin_v1,
    tasks_v2,
)
from google.cloud.billing.budgets_v1 import BudgetServiceClient
from google.cloud.logging_v2.services.metrics_service_v2 import MetricsServiceV2Client
from google.cloud.storage import Client as StorageClient

from deploy.errors import explained
from deploy.rest import RestClient

_OPERATION_SECONDS = 900.0
# The clients ask after one second first; most operations of a deployment take less.
_POLLING = DEFAULT_POLLING.with_delay(initial=0.1, multiplier=1.5, maximum=5.0)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class GoogleCloud:
    """A project in a region, with the clients that reach it; credentials are the default ones."""

    def __init__(self, project: str, region: str) -> None:
        self.project = project
        self.region = region

    @property
    def location(self) -> str:
        """The full name of the region, the parent of regional resources."""
        return f"projects/{self.project}/locations/{self.region}"

    def email(self, account: str) -> str:
        """Return the address of a service account of this project."""
        return f"{account}@{self.project}.iam.gserviceaccount.com"

    @cached_property
    def number(self) -> str:
        """The project's number, which Cloud Run puts into URLs. Raises DeployError."""
        with explained(f"project/{self.project}"):
            project = self.projects.get_project(name=f"projects/{self.project}")
        return str(project.name.removeprefix("projects/"))

    def service_url(self, service: str, tag: str = "") -> str:
        """Return the URL that Cloud Run gives a service, or the revision with a tag.

        See https://cloud.google.com/run/docs/triggering/https-request#deterministic.
        """
        label = f"{tag}---{service}" if tag else service
        return f"https://{label}-{self.number}.{self.region}.run.app"

    @cached_property
    def accounts(self) -> iam_admin_v1.IAMClient:
        return iam_admin_v1.IAMClient()

    @cached_property
    def alert_addresses(self) -> monitoring_v3.NotificationChannelServiceClient:
        return monitoring_v3.NotificationChannelServiceClient()

    @cached_property
    def alerts(self) -> monitoring_v3.AlertPolicyServiceClient:
        return monitoring_v3.AlertPolicyServiceClient()

    @cached_property
    def apis(self) -> service_usage_v1.ServiceUsageClient:
        return service_usage_v1.ServiceUsageClient()

    @cached_property
    def buckets(self) -> Any:
        return StorageClient(project=self.project)

    @cached_property
    def budgets(self) -> BudgetServiceClient:
        return BudgetServiceClient()

    @cached_property
    def executions(self) -> run_v2.ExecutionsClient:
        return run_v2.ExecutionsClient()

    @cached_property
    def jobs(self) -> run_v2.JobsClient:
        return run_v2.JobsClient()

    @cached_property
    def log_metrics(self) -> MetricsServiceV2Client:
        return MetricsServiceV2Client()

    @cached_property
    def projects(self) -> resourcemanager_v3.ProjectsClient:
        return resourcemanager_v3.ProjectsClient()

    @cached_property
    def queues(self) -> tasks_v2.CloudTasksClient:
        return tasks_v2.CloudTasksClient()

    @cached_property
    def repositories(self) -> artifactregistry_v1.ArtifactRegistryClient:
        return artifactregistry_v1.ArtifactRegistryClient()

    @cached_property
    def rest(self) -> RestClient:
        return RestClient()

    @cached_property
    def schedules(self) -> scheduler_v1.CloudSchedulerClient:
        return scheduler_v1.CloudSchedulerClient()

    @cached_property
    def secrets(self) -> secretmanager_v1.SecretManagerServiceClient:
        return secretmanager_v1.SecretManagerServiceClient()

    @cached_property
    def services(self) -> run_v2.ServicesClient:
        return run_v2.ServicesClient()

    @cached_property
    def sql_databases(self) -> sqladmin_v1.SqlDatabasesServiceClient:
        return sqladmin_v1.SqlDatabasesServiceClient()

    @cached_property
    def sql_instances(self) -> sqladmin_v1.SqlInstancesServiceClient:
        return sqladmin_v1.SqlInstancesServiceClient()

    @cached_property
    def sql_operations(self) -> sqladmin_v1.SqlOperationsServiceClient:
        return sqladmin_v1.SqlOperationsServiceClient()

    @cached_property
    def sql_users(self) -> sqladmin_v1.SqlUsersServiceClient:
        return sqladmin_v1.SqlUsersServiceClient()

    @cached_property
    def tokens(self) -> iam_credentials_v1.IAMCredentialsClient:
        return iam_credentials_v1.IAMCredentialsClient()

    @cached_property
    def uptime_checks(self) -> monitoring_v3.UptimeCheckServiceClient:
        return monitoring_v3.UptimeCheckServiceClient()


def finish(operation: Any) -> Any:
    """Wait for a long-running operation; return its result. Raises the error that it ended with."""
    return operation.result(timeout=_OPERATION_SECONDS, polling=_POLLING)


def pauses(seconds: float) -> Iterator[bool]:
    """Wait before each step, a little longer each time, until so many seconds have passed."""
    pause, end = _FIRST_PAUSE, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        yield True
