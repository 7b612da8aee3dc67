"""Groups of permissions that predefined roles are made of."""


def each(prefix: str, verbs: str) -> frozenset[str]:
    return frozenset(f"{prefix}.{verb}" for verb in verbs.split())


RUN_VIEW = (
    each("run.jobs", "get getIamPolicy list")
    | each("run.services", "get getIamPolicy list")
    | each("run.executions", "get list")
    | each("run.tasks", "get list")
    | each("run.operations", "get list")
    | each("run.revisions", "get list")
    | each("run.routes", "get list")
    | each("run.locations", "list")
    | each("run.domainmappings", "get list")
)
RUN_DEVELOP = (
    RUN_VIEW
    | each("run.jobs", "create delete run runWithOverrides update")
    | each("run.services", "create delete update")
    | each("run.executions", "cancel delete")
    | each("run.operations", "delete")
    | each("run.revisions", "delete")
    | each("run.routes", "invoke")
)
RUN_ADMIN = (
    RUN_DEVELOP
    | each("run.domainmappings", "create delete")
    | each("run.jobs", "setIamPolicy")
    | each("run.services", "setIamPolicy")
)
JOBS_EXECUTE = frozenset({"run.jobs.run", "run.executions.cancel"})

TASKS_VIEW = (
    each("cloudtasks.queues", "get list")
    | each("cloudtasks.tasks", "fullView get list")
    | each("cloudtasks.locations", "get list")
)
TASKS_ADMIN = (
    TASKS_VIEW
    | each("cloudtasks.queues", "create delete getIamPolicy pause purge resume setIamPolicy update")
    | each("cloudtasks.tasks", "create delete run")
)
SCHEDULER_VIEW = each("cloudscheduler.jobs", "get list") | each(
    "cloudscheduler.locations", "get list"
)

FOLDERS = "storage.folders"
MANAGED = "storage.managedFolders"
UPLOADS = "storage.multipartUploads"
OBJECTS = "storage.objects"
OBJECT_VIEW = each(OBJECTS, "get list") | each(FOLDERS, "get list") | each(MANAGED, "get list")
OBJECT_CREATE = (
    each(OBJECTS, "create")
    | each(FOLDERS, "create")
    | each(MANAGED, "create")
    | each(UPLOADS, "abort create listParts")
)
OBJECT_USE = (
    OBJECT_VIEW
    | OBJECT_CREATE
    | each(OBJECTS, "delete move restore update")
    | each(FOLDERS, "delete rename")
    | each(MANAGED, "delete")
    | each(UPLOADS, "list")
)
OBJECT_ADMIN = OBJECT_USE | each(OBJECTS, "getIamPolicy setIamPolicy overrideUnlockedRetention")
BUCKET_READ = each("storage.buckets", "get")
STORAGE_ADMIN = (
    OBJECT_ADMIN
    | each("storage.buckets", "create delete get getIamPolicy list setIamPolicy update")
    | each("storage.bucketOperations", "cancel get list")
    | each("resourcemanager.projects", "get")
)

HMAC_ADMIN = each("storage.hmacKeys", "create delete get list update")

SECRET_VIEW = (
    each("secretmanager.secrets", "get list")
    | each("secretmanager.versions", "get list")
    | each("secretmanager.locations", "get list")
)
SECRET_EDIT = (
    SECRET_VIEW
    | each("secretmanager.secrets", "create delete update")
    | each("secretmanager.versions", "add destroy disable enable")
)
SECRET_ADMIN = (
    SECRET_EDIT
    | each("secretmanager.secrets", "getIamPolicy setIamPolicy")
    | each("secretmanager.versions", "access")
)
PUBSUB_VIEW = (
    each("pubsub.topics", "get list")
    | each("pubsub.subscriptions", "get list")
    | each("pubsub.snapshots", "get list")
    | each("pubsub.schemas", "get list listRevisions validate")
)
PUBSUB_SUBSCRIBE = (
    each("pubsub.subscriptions", "consume")
    | each("pubsub.snapshots", "seek")
    | each("pubsub.topics", "attachSubscription")
)
PUBSUB_EDIT = (
    PUBSUB_VIEW
    | PUBSUB_SUBSCRIBE
    | each("pubsub.topics", "create delete detachSubscription publish update")
    | each("pubsub.subscriptions", "create delete update")
    | each("pubsub.snapshots", "create delete update")
    | each("pubsub.schemas", "attach commit create delete rollback")
)
PUBSUB_ADMIN = PUBSUB_EDIT | frozenset(
    f"pubsub.{kind}.{verb}"
    for kind in ("topics", "subscriptions", "snapshots")
    for verb in ("getIamPolicy", "setIamPolicy")
)
LOG_SETTINGS = ("buckets", "exclusions", "logMetrics", "sinks", "views")
LOGGING_VIEW = frozenset().union(
    *(each(f"logging.{kind}", "get list") for kind in LOG_SETTINGS),
    {"logging.logEntries.list", "logging.logs.list", "resourcemanager.projects.get"},
)
LOGGING_WRITE = each("logging.logEntries", "create route")
LOGGING_CONFIG = frozenset().union(
    *(each(f"logging.{kind}", "create delete get list update") for kind in LOG_SETTINGS),
    {"logging.buckets.undelete", "logging.cmekSettings.get", "logging.settings.get"},
)
LOG_VIEW_ACCESS = each("logging.views", "access")
LOGGING_ADMIN = (
    LOGGING_VIEW | LOGGING_WRITE | LOGGING_CONFIG | LOG_VIEW_ACCESS | {"logging.logs.delete"}
)
TRACES_WRITE = each("telemetry.traces", "write")
TELEMETRY_WRITE = frozenset(f"telemetry.{kind}.write" for kind in ("logs", "metrics", "traces"))
TRACES_READ = each("cloudtrace.traces", "get list")
MONITORED = ("alertPolicies", "notificationChannels", "uptimeCheckConfigs")
MONITORING_VIEW = frozenset().union(
    *(each(f"monitoring.{kind}", "get list") for kind in MONITORED),
    each("monitoring.timeSeries", "list"),
    each("monitoring.metricDescriptors", "get list"),
)
METRICS_WRITE = each("monitoring.timeSeries", "create") | each(
    "monitoring.metricDescriptors", "create get list"
)
MONITORING_EDIT = (MONITORING_VIEW | METRICS_WRITE).union(
    *(each(f"monitoring.{kind}", "create delete update") for kind in MONITORED),
    each("monitoring.metricDescriptors", "delete"),
)
PROJECT_IAM = each("resourcemanager.projects", "get getIamPolicy setIamPolicy")
USAGE_VIEW = each("serviceusage.services", "get list")
USAGE_ADMIN = USAGE_VIEW | each("serviceusage.services", "disable enable use")
ROLE_VIEW = each("iam.roles", "get list")
ROLE_ADMIN = ROLE_VIEW | each("iam.roles", "create delete undelete update")
ACCOUNT_ADMIN = each(
    "iam.serviceAccounts",
    "create delete disable enable get getIamPolicy list setIamPolicy undelete update",
)

POOLS = ("iam.workloadIdentityPools", "iam.workloadIdentityPoolProviders")
POOL_VIEW = each(POOLS[0], "get list") | each(POOLS[1], "get list")
POOL_ADMIN = frozenset().union(
    *(each(kind, "create delete get list undelete update") for kind in POOLS)
)

REGISTRY = "artifactregistry.repositories"
REGISTRY_READ = each(REGISTRY, "downloadArtifacts get list")
REGISTRY_WRITE = REGISTRY_READ | each(REGISTRY, "uploadArtifacts")
REGISTRY_ADMIN = REGISTRY_WRITE | each(
    REGISTRY, "create delete deleteArtifacts getIamPolicy setIamPolicy update"
)

ACCOUNT_USE = each("iam.serviceAccounts", "actAs get list")
TOKENS = each(
    "iam.serviceAccounts",
    "get getAccessToken getOpenIdToken implicitDelegation list signBlob signJwt",
)

SQL_VIEW = (
    each("cloudsql.instances", "get list")
    | each("cloudsql.databases", "get list")
    | each("cloudsql.users", "get list")
    | each("cloudsql.backupRuns", "get list")
    | each("cloudsql.instances", "export")
)
SQL_CONNECT = each("cloudsql.instances", "connect get")
SQL_EDIT = (
    SQL_VIEW
    | SQL_CONNECT
    | frozenset(
        {"cloudsql.instances.update", "cloudsql.databases.create", "cloudsql.databases.update"}
        | {"cloudsql.backupRuns.create"}
    )
)
SQL_ADMIN = (
    SQL_EDIT
    | each("cloudsql.instances", "clone create delete import restoreBackup")
    | each("cloudsql.backupRuns", "delete")
    | each("cloudsql.databases", "delete")
    | each("cloudsql.users", "create delete update")
)

NETWORK_VIEW = frozenset().union(
    *(
        each(f"compute.{kind}", "get list")
        for kind in (
            *("networks", "subnetworks", "addresses", "globalAddresses", "regions"),
            *("firewalls", "routes"),
        )
    ),
    *(each(f"compute.{kind}", "get list") for kind in ("globalOperations", "regionOperations")),
    each("servicenetworking.services", "get"),
)
NETWORK_USE = NETWORK_VIEW | frozenset(
    {"compute.networks.use", "compute.subnetworks.use", "compute.addresses.use"}
)
NETWORK_ADMIN = (
    NETWORK_USE
    | each("compute.networks", "create delete switchToCustomMode update updatePolicy")
    | each("compute.subnetworks", "create delete setPrivateIpGoogleAccess update")
    | each("compute.routes", "create delete")
    | each("compute.addresses", "create createInternal delete deleteInternal")
    | each("compute.globalAddresses", "create createInternal delete deleteInternal use")
    | each("servicenetworking.services", "addPeering deleteConnection")
)
# Administrators of networks may not change firewall rules at Google.
NETWORK_SECURITY = (
    each("compute.firewalls", "create delete get list update")
    | each("compute.networks", "get list updatePolicy")
    | each("compute.routes", "get list")
    | each("compute.globalOperations", "get list")
)

BUDGET_VIEW = each("billing.resourcebudgets", "read")
BUDGET_EDIT = BUDGET_VIEW | each("billing.resourcebudgets", "write")

VIEWER = (
    each("resourcemanager.projects", "get")
    | RUN_VIEW
    | TASKS_VIEW
    | SCHEDULER_VIEW
    | each("iam.serviceAccounts", "get list")
    | SECRET_VIEW
    | PUBSUB_VIEW
    | LOGGING_VIEW
    | USAGE_VIEW
    | ROLE_VIEW
    | REGISTRY_READ
    | SQL_VIEW
    | MONITORING_VIEW
    | TRACES_READ
    | NETWORK_VIEW
    | BUDGET_VIEW
)
EDITOR = (
    VIEWER
    | RUN_DEVELOP
    | TASKS_ADMIN
    | each("cloudscheduler.jobs", "create delete enable fullView get list pause run update")
    | each("iam.serviceAccounts", "actAs create delete disable enable undelete update")
    | HMAC_ADMIN
    | SECRET_EDIT
    | PUBSUB_EDIT
    | LOGGING_ADMIN
    | TELEMETRY_WRITE
    | each("cloudtrace.traces", "patch")
    | USAGE_ADMIN
    | REGISTRY_WRITE
    | each(REGISTRY, "create delete deleteArtifacts update")
    | SQL_ADMIN
    | MONITORING_EDIT
    | NETWORK_ADMIN
    | NETWORK_SECURITY
    | BUDGET_EDIT
)
