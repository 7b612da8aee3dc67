"""Kinds of resources that watch a project and admit to it: monitoring, logs, budgets, accounts, APIs."""

from devenv.console.resources import ResourceColumn, ResourceKind, ResourcePage

_MONITORING, _LOGGING, _IAM = (
    "monitoring.googleapis.com",
    "logging.googleapis.com",
    "iam.googleapis.com",
)

MONITORING = ResourcePage(
    path="/monitoring",
    title="Monitoring",
    place="monitoring",
    lead="Metrics that programs wrote, and what is to happen when they pass a threshold.",
    kinds=(
        ResourceKind(
            name="metrics",
            title="Metrics",
            host=_MONITORING,
            path="/v3/{project}/metricDescriptors",
            items="metricDescriptors",
            label="type",
            columns=(
                ResourceColumn("Kind", "metricKind"),
                ResourceColumn("Values", "valueType"),
                ResourceColumn("Unit", "unit"),
                ResourceColumn("Description", "description"),
            ),
            has_series=True,
            empty="No metric was written yet. Programs write some by the Monitoring or the Telemetry API.",
        ),
        ResourceKind(
            name="alert-policies",
            title="Alert policies",
            host=_MONITORING,
            path="/v3/{project}/alertPolicies",
            items="alertPolicies",
            label="displayName",
            columns=(
                ResourceColumn("Conditions", "conditions.displayName"),
                ResourceColumn("Enabled", "enabled"),
                ResourceColumn("Changed", "creationRecord.mutateTime", "time"),
            ),
            empty="There is no alert policy. Next: gcloud monitoring policies create, or Terraform.",
        ),
        ResourceKind(
            name="channels",
            title="Notification channels",
            host=_MONITORING,
            path="/v3/{project}/notificationChannels",
            items="notificationChannels",
            label="displayName",
            columns=(
                ResourceColumn("Type", "type"),
                ResourceColumn("Labels", "labels", "mono"),
                ResourceColumn("Enabled", "enabled"),
            ),
            empty="There is no notification channel.",
        ),
        ResourceKind(
            name="uptime-checks",
            title="Uptime checks",
            host=_MONITORING,
            path="/v3/{project}/uptimeCheckConfigs",
            items="uptimeCheckConfigs",
            label="displayName",
            columns=(
                ResourceColumn("Host", "monitoredResource.labels.host", "mono"),
                ResourceColumn("Path", "httpCheck.path", "mono"),
                ResourceColumn("Every", "period"),
            ),
            empty="There is no uptime check.",
        ),
    ),
)
BUDGETS = ResourcePage(
    path="/budgets",
    title="Budgets",
    place="budgets",
    lead="Budgets of billing accounts. Nothing costs money here, so no threshold is ever reached.",
    kinds=(
        ResourceKind(
            name="budgets",
            title="Budgets",
            host="",
            path="budgets",
            items="budgets",
            label="displayName",
            columns=(
                ResourceColumn("Amount", "amount.specifiedAmount.units", "number"),
                ResourceColumn("Currency", "amount.specifiedAmount.currencyCode"),
                ResourceColumn("Thresholds", "thresholdRules.thresholdPercent"),
                ResourceColumn("Period", "budgetFilter.calendarPeriod"),
            ),
            empty="There is no budget. Next: gcloud billing budgets create, or Terraform.",
        ),
    ),
)
LOG_ROUTING = ResourcePage(
    path="/log-routing",
    title="Sinks, buckets and metrics",
    place="logs",
    above=("Logs", "/logs"),
    lead="Where Cloud Logging sends entries, how long it keeps them, and what it counts.",
    kinds=(
        ResourceKind(
            name="sinks",
            title="Sinks",
            host=_LOGGING,
            path="/v2/{project}/sinks",
            items="sinks",
            columns=(
                ResourceColumn("Destination", "destination", "mono"),
                ResourceColumn("Filter", "filter", "mono"),
            ),
            empty="There is no sink.",
        ),
        ResourceKind(
            name="buckets",
            title="Buckets",
            host=_LOGGING,
            path="/v2/{project}/locations/-/buckets",
            items="buckets",
            columns=(
                ResourceColumn("State", "lifecycleState", "badge"),
                ResourceColumn("Keeps, days", "retentionDays", "number"),
                ResourceColumn("Locked", "locked"),
                ResourceColumn("Description", "description"),
            ),
            empty="There is no bucket.",
        ),
        ResourceKind(
            name="metrics",
            title="Log-based metrics",
            host=_LOGGING,
            path="/v2/{project}/metrics",
            items="metrics",
            columns=(
                ResourceColumn("Filter", "filter", "mono"),
                ResourceColumn("Description", "description"),
                ResourceColumn("Changed", "updateTime", "time"),
            ),
            empty="There is no log-based metric. Next: gcloud logging metrics create.",
        ),
    ),
)
ACCOUNTS = ResourcePage(
    path="/accounts",
    title="Accounts and keys",
    place="iam",
    above=("IAM", "/iam"),
    lead="Service accounts with their keys, and identities of elsewhere that may become one.",
    kinds=(
        ResourceKind(
            name="service-accounts",
            title="Service accounts",
            host=_IAM,
            path="/v1/{project}/serviceAccounts",
            items="accounts",
            label="email",
            columns=(ResourceColumn("Name", "displayName"), ResourceColumn("Disabled", "disabled")),
            parts=(
                ResourceKind(
                    name="keys",
                    title="Keys",
                    host=_IAM,
                    path="/v1/{name}/keys",
                    items="keys",
                    columns=(
                        ResourceColumn("Type", "keyType"),
                        ResourceColumn("Valid from", "validAfterTime", "time"),
                        ResourceColumn("Valid until", "validBeforeTime", "time"),
                    ),
                    empty="It has no key.",
                ),
            ),
            empty="There is no service account.",
        ),
        ResourceKind(
            name="pools",
            title="Workload identity pools",
            host=_IAM,
            path="/v1/{project}/locations/global/workloadIdentityPools",
            items="workloadIdentityPools",
            columns=(
                ResourceColumn("State", "state", "badge"),
                ResourceColumn("Description", "description"),
            ),
            parts=(
                ResourceKind(
                    name="providers",
                    title="Providers",
                    host=_IAM,
                    path="/v1/{name}/providers",
                    items="workloadIdentityPoolProviders",
                    columns=(
                        ResourceColumn("State", "state", "badge"),
                        ResourceColumn("Issuer", "oidc.issuerUri", "mono"),
                    ),
                    empty="It has no provider.",
                ),
            ),
            empty="There is no pool. Next: gcloud iam workload-identity-pools create.",
        ),
        ResourceKind(
            name="hmac-keys",
            title="HMAC keys of Cloud Storage",
            host="storage.googleapis.com",
            path="/storage/v1/projects/{id}/hmacKeys",
            items="items",
            key="accessId",
            columns=(
                ResourceColumn("Account", "serviceAccountEmail"),
                ResourceColumn("State", "state", "badge"),
                ResourceColumn("Created", "timeCreated", "time"),
            ),
            empty="There is no HMAC key. Next: gcloud storage hmac create.",
        ),
    ),
)
APIS = ResourcePage(
    path="/apis",
    title="APIs",
    place="apis",
    lead="The APIs of Google that the project may call here, as Service Usage lists them.",
    kinds=(
        ResourceKind(
            name="services",
            title="Enabled",
            host="serviceusage.googleapis.com",
            path="/v1/{project}/services",
            items="services",
            query={"filter": "state:ENABLED", "pageSize": "200"},
            label="config.title",
            columns=(
                ResourceColumn("Host", "config.name", "mono"),
                ResourceColumn("State", "state", "badge"),
            ),
            empty="No API is enabled.",
        ),
    ),
)

PAGES = (MONITORING, BUDGETS, LOG_ROUTING, ACCOUNTS, APIS)
