"""Permissions of Google's predefined roles, as far as the emulated services check them.

From the published role reference (https://cloud.google.com/iam/docs/understanding-roles).
"""

from collections.abc import Iterable, Mapping
from itertools import combinations


def _each(prefix: str, verbs: str) -> frozenset[str]:
    return frozenset(f"{prefix}.{verb}" for verb in verbs.split())


_RUN_VIEW = (
    _each("run.jobs", "get getIamPolicy list")
    | _each("run.services", "get getIamPolicy list")
    | _each("run.executions", "get list")
    | _each("run.tasks", "get list")
    | _each("run.operations", "get list")
    | _each("run.revisions", "get list")
    | _each("run.routes", "get list")
    | _each("run.locations", "list")
)
_RUN_DEVELOP = (
    _RUN_VIEW
    | _each("run.jobs", "create delete run runWithOverrides update")
    | _each("run.services", "create delete update")
    | _each("run.executions", "cancel delete")
    | _each("run.operations", "delete")
    | _each("run.revisions", "delete")
    | _each("run.routes", "invoke")
)
_RUN_ADMIN = (
    _RUN_DEVELOP | _each("run.jobs", "setIamPolicy") | _each("run.services", "setIamPolicy")
)
_JOBS_EXECUTE = frozenset({"run.jobs.run", "run.executions.cancel"})

_TASKS_VIEW = (
    _each("cloudtasks.queues", "get list")
    | _each("cloudtasks.tasks", "fullView get list")
    | _each("cloudtasks.locations", "get list")
)
_TASKS_ADMIN = (
    _TASKS_VIEW
    | _each(
        "cloudtasks.queues", "create delete getIamPolicy pause purge resume setIamPolicy update"
    )
    | _each("cloudtasks.tasks", "create delete run")
)
_SCHEDULER_VIEW = _each("cloudscheduler.jobs", "get list") | _each(
    "cloudscheduler.locations", "get list"
)

_FOLDERS = "storage.folders"
_MANAGED = "storage.managedFolders"
_UPLOADS = "storage.multipartUploads"
_OBJECTS = "storage.objects"
_OBJECT_VIEW = (
    _each(_OBJECTS, "get list") | _each(_FOLDERS, "get list") | _each(_MANAGED, "get list")
)
_OBJECT_CREATE = (
    _each(_OBJECTS, "create")
    | _each(_FOLDERS, "create")
    | _each(_MANAGED, "create")
    | _each(_UPLOADS, "abort create listParts")
)
_OBJECT_USE = (
    _OBJECT_VIEW
    | _OBJECT_CREATE
    | _each(_OBJECTS, "delete move restore update")
    | _each(_FOLDERS, "delete rename")
    | _each(_MANAGED, "delete")
    | _each(_UPLOADS, "list")
)
_OBJECT_ADMIN = _OBJECT_USE | _each(_OBJECTS, "getIamPolicy setIamPolicy overrideUnlockedRetention")
_BUCKET_READ = _each("storage.buckets", "get")
_STORAGE_ADMIN = (
    _OBJECT_ADMIN
    | _each("storage.buckets", "create delete get getIamPolicy list setIamPolicy update")
    | _each("storage.bucketOperations", "cancel get list")
    | _each("resourcemanager.projects", "get")
)

_HMAC_ADMIN = _each("storage.hmacKeys", "create delete get list update")

_SECRET_VIEW = (
    _each("secretmanager.secrets", "get list")
    | _each("secretmanager.versions", "get list")
    | _each("secretmanager.locations", "get list")
)
_SECRET_EDIT = (
    _SECRET_VIEW
    | _each("secretmanager.secrets", "create delete update")
    | _each("secretmanager.versions", "add destroy disable enable")
)
_SECRET_ADMIN = (
    _SECRET_EDIT
    | _each("secretmanager.secrets", "getIamPolicy setIamPolicy")
    | _each("secretmanager.versions", "access")
)
_PUBSUB_VIEW = (
    _each("pubsub.topics", "get list")
    | _each("pubsub.subscriptions", "get list")
    | _each("pubsub.snapshots", "get list")
    | _each("pubsub.schemas", "get list listRevisions validate")
)
_PUBSUB_SUBSCRIBE = (
    _each("pubsub.subscriptions", "consume")
    | _each("pubsub.snapshots", "seek")
    | _each("pubsub.topics", "attachSubscription")
)
_PUBSUB_EDIT = (
    _PUBSUB_VIEW
    | _PUBSUB_SUBSCRIBE
    | _each("pubsub.topics", "create delete detachSubscription publish update")
    | _each("pubsub.subscriptions", "create delete update")
    | _each("pubsub.snapshots", "create delete update")
    | _each("pubsub.schemas", "attach commit create delete rollback")
)
_PUBSUB_ADMIN = _PUBSUB_EDIT | frozenset(
    f"pubsub.{kind}.{verb}"
    for kind in ("topics", "subscriptions", "snapshots")
    for verb in ("getIamPolicy", "setIamPolicy")
)
_LOG_SETTINGS = ("buckets", "logMetrics", "sinks", "views")
_LOGGING_VIEW = frozenset().union(
    *(_each(f"logging.{kind}", "get list") for kind in _LOG_SETTINGS),
    {"logging.logEntries.list", "logging.logs.list", "resourcemanager.projects.get"},
)
_LOGGING_WRITE = _each("logging.logEntries", "create route")
_LOGGING_CONFIG = frozenset().union(
    *(_each(f"logging.{kind}", "create delete get list update") for kind in _LOG_SETTINGS),
    {"logging.buckets.undelete"},
)
_LOG_VIEW_ACCESS = _each("logging.views", "access")
_LOGGING_ADMIN = (
    _LOGGING_VIEW | _LOGGING_WRITE | _LOGGING_CONFIG | _LOG_VIEW_ACCESS | {"logging.logs.delete"}
)
_TRACES_WRITE = _each("telemetry.traces", "write")
_TELEMETRY_WRITE = frozenset(f"telemetry.{each}.write" for each in ("logs", "metrics", "traces"))
_TRACES_READ = _each("cloudtrace.traces", "get list")
_MONITORED = ("alertPolicies", "notificationChannels", "uptimeCheckConfigs")
_MONITORING_VIEW = frozenset().union(
    *(_each(f"monitoring.{kind}", "get list") for kind in _MONITORED),
    _each("monitoring.timeSeries", "list"),
    _each("monitoring.metricDescriptors", "get list"),
)
_MONITORING_EDIT = _MONITORING_VIEW | frozenset().union(
    *(_each(f"monitoring.{kind}", "create delete update") for kind in _MONITORED)
)
_PROJECT_IAM = _each("resourcemanager.projects", "get getIamPolicy setIamPolicy")
_USAGE_VIEW = _each("serviceusage.services", "get list")
_USAGE_ADMIN = _USAGE_VIEW | _each("serviceusage.services", "disable enable use")
_ROLE_VIEW = _each("iam.roles", "get list")
_ROLE_ADMIN = _ROLE_VIEW | _each("iam.roles", "create delete undelete update")
_ACCOUNT_ADMIN = _each(
    "iam.serviceAccounts",
    "create delete disable enable get getIamPolicy list setIamPolicy undelete update",
)

_POOLS = ("iam.workloadIdentityPools", "iam.workloadIdentityPoolProviders")
_POOL_VIEW = _each(_POOLS[0], "get list") | _each(_POOLS[1], "get list")
_POOL_ADMIN = frozenset().union(
    *(_each(kind, "create delete get list undelete update") for kind in _POOLS)
)

_REGISTRY = "artifactregistry.repositories"
_REGISTRY_READ = _each(_REGISTRY, "downloadArtifacts get list")
_REGISTRY_WRITE = _REGISTRY_READ | _each(_REGISTRY, "uploadArtifacts")
_REGISTRY_ADMIN = _REGISTRY_WRITE | _each(
    _REGISTRY, "create delete deleteArtifacts getIamPolicy setIamPolicy update"
)

_ACCOUNT_USE = _each("iam.serviceAccounts", "actAs get list")
_TOKENS = _each(
    "iam.serviceAccounts",
    "get getAccessToken getOpenIdToken implicitDelegation list signBlob signJwt",
)

_SQL_VIEW = (
    _each("cloudsql.instances", "get list")
    | _each("cloudsql.databases", "get list")
    | _each("cloudsql.users", "get list")
)
_SQL_CONNECT = _each("cloudsql.instances", "connect get")
_SQL_EDIT = (
    _SQL_VIEW
    | _SQL_CONNECT
    | frozenset(
        {"cloudsql.instances.update", "cloudsql.databases.create", "cloudsql.databases.update"}
    )
)
_SQL_ADMIN = (
    _SQL_EDIT
    | _each("cloudsql.instances", "create delete")
    | _each("cloudsql.databases", "delete")
    | _each("cloudsql.users", "create delete update")
)

_VIEWER = (
    _each("resourcemanager.projects", "get")
    | _RUN_VIEW
    | _TASKS_VIEW
    | _SCHEDULER_VIEW
    | _each("iam.serviceAccounts", "get list")
    | _SECRET_VIEW
    | _PUBSUB_VIEW
    | _LOGGING_VIEW
    | _USAGE_VIEW
    | _ROLE_VIEW
    | _REGISTRY_READ
    | _SQL_VIEW
    | _MONITORING_VIEW
    | _TRACES_READ
)
_EDITOR = (
    _VIEWER
    | _RUN_DEVELOP
    | _TASKS_ADMIN
    | _each("cloudscheduler.jobs", "create delete enable fullView get list pause run update")
    | _each("iam.serviceAccounts", "actAs create delete disable enable undelete update")
    | _HMAC_ADMIN
    | _SECRET_EDIT
    | _PUBSUB_EDIT
    | _LOGGING_ADMIN
    | _TELEMETRY_WRITE
    | _each("cloudtrace.traces", "patch")
    | _USAGE_ADMIN
    | _REGISTRY_WRITE
    | _each(_REGISTRY, "create delete deleteArtifacts update")
    | _SQL_ADMIN
    | _MONITORING_EDIT
)

ROLES: Mapping[str, frozenset[str]] = {
    "roles/run.invoker": frozenset({"run.jobs.run", "run.routes.invoke"}),
    "roles/run.servicesInvoker": frozenset({"run.routes.invoke"}),
    "roles/run.jobsExecutor": _JOBS_EXECUTE,
    "roles/run.jobsExecutorWithOverrides": _JOBS_EXECUTE | {"run.jobs.runWithOverrides"},
    "roles/run.viewer": _RUN_VIEW,
    "roles/run.developer": _RUN_DEVELOP,
    "roles/run.admin": _RUN_ADMIN,
    "roles/cloudtasks.enqueuer": _each("cloudtasks.tasks", "create fullView"),
    "roles/cloudtasks.taskRunner": _each("cloudtasks.tasks", "fullView run"),
    "roles/cloudtasks.taskDeleter": _each("cloudtasks.tasks", "delete"),
    "roles/cloudtasks.viewer": _TASKS_VIEW,
    "roles/cloudtasks.queueAdmin": _TASKS_ADMIN - _each("cloudtasks.tasks", "create fullView run"),
    "roles/cloudtasks.admin": _TASKS_ADMIN,
    "roles/cloudscheduler.viewer": _SCHEDULER_VIEW,
    "roles/cloudscheduler.jobRunner": _each("cloudscheduler.jobs", "fullView run"),
    "roles/cloudscheduler.admin": _SCHEDULER_VIEW
    | _each("cloudscheduler.jobs", "create delete enable fullView pause run update"),
    "roles/storage.objectViewer": _OBJECT_VIEW,
    "roles/storage.objectCreator": _OBJECT_CREATE,
    "roles/storage.objectUser": _OBJECT_USE,
    "roles/storage.objectAdmin": _OBJECT_ADMIN,
    "roles/storage.legacyBucketReader": _BUCKET_READ | _each(_OBJECTS, "list"),
    "roles/storage.legacyBucketWriter": _BUCKET_READ
    | _each(_OBJECTS, "create delete list")
    | _each(_UPLOADS, "abort create list listParts"),
    "roles/storage.legacyBucketOwner": _each(
        "storage.buckets", "get getIamPolicy setIamPolicy update"
    )
    | _each(_OBJECTS, "create delete list restore")
    | _each(_UPLOADS, "abort create list listParts"),
    "roles/storage.legacyObjectReader": _each(_OBJECTS, "get"),
    "roles/storage.legacyObjectOwner": _each(
        _OBJECTS, "get getIamPolicy overrideUnlockedRetention setIamPolicy update"
    ),
    "roles/storage.bucketViewer": _each("storage.buckets", "get list"),
    "roles/storage.admin": _STORAGE_ADMIN,
    "roles/storage.hmacKeyAdmin": _HMAC_ADMIN,
    "roles/secretmanager.secretAccessor": _each("secretmanager.versions", "access"),
    "roles/secretmanager.secretVersionAdder": _each("secretmanager.versions", "add"),
    "roles/secretmanager.secretVersionManager": _each(
        "secretmanager.versions", "add destroy disable enable get list"
    ),
    "roles/secretmanager.viewer": _SECRET_VIEW | _each("secretmanager.secrets", "getIamPolicy"),
    "roles/secretmanager.admin": _SECRET_ADMIN,
    "roles/pubsub.publisher": _each("pubsub.topics", "publish"),
    "roles/pubsub.subscriber": _PUBSUB_SUBSCRIBE,
    "roles/pubsub.viewer": _PUBSUB_VIEW,
    "roles/pubsub.editor": _PUBSUB_EDIT,
    "roles/pubsub.admin": _PUBSUB_ADMIN,
    "roles/logging.logWriter": _LOGGING_WRITE,
    "roles/logging.viewer": _LOGGING_VIEW,
    "roles/logging.privateLogViewer": _LOGGING_VIEW | _LOG_VIEW_ACCESS,
    "roles/logging.viewAccessor": _LOG_VIEW_ACCESS,
    "roles/logging.configWriter": _LOGGING_CONFIG,
    "roles/monitoring.viewer": _MONITORING_VIEW,
    "roles/monitoring.editor": _MONITORING_EDIT,
    "roles/logging.admin": _LOGGING_ADMIN,
    "roles/telemetry.tracesWriter": _TRACES_WRITE,
    "roles/telemetry.logsWriter": _each("telemetry.logs", "write"),
    "roles/telemetry.metricsWriter": _each("telemetry.metrics", "write"),
    "roles/telemetry.writer": _TELEMETRY_WRITE,
    "roles/telemetry.editor": _TELEMETRY_WRITE | _each("resourcemanager.projects", "get list"),
    "roles/cloudtrace.agent": _TRACES_WRITE | _each("cloudtrace.traces", "patch"),
    "roles/cloudtrace.user": _TRACES_READ,
    "roles/cloudtrace.admin": _TRACES_READ | _each("cloudtrace.traces", "patch"),
    "roles/resourcemanager.projectIamAdmin": _PROJECT_IAM,
    "roles/browser": _each("resourcemanager.projects", "get getIamPolicy list"),
    "roles/iam.securityReviewer": _each("resourcemanager.projects", "getIamPolicy list")
    | _each("iam.roles", "get list")
    | _each("cloudtasks.queues", "getIamPolicy list")
    | _each("iam.serviceAccounts", "getIamPolicy list")
    | _each("run.jobs", "getIamPolicy list")
    | _each("run.services", "getIamPolicy list")
    | _each("secretmanager.secrets", "getIamPolicy list")
    | _each("storage.buckets", "getIamPolicy list"),
    "roles/artifactregistry.reader": _REGISTRY_READ,
    "roles/artifactregistry.writer": _REGISTRY_WRITE,
    "roles/artifactregistry.repoAdmin": _REGISTRY_WRITE | _each(_REGISTRY, "deleteArtifacts"),
    "roles/artifactregistry.admin": _REGISTRY_ADMIN,
    "roles/cloudsql.viewer": _SQL_VIEW,
    "roles/cloudsql.client": _SQL_CONNECT,
    "roles/cloudsql.editor": _SQL_EDIT,
    "roles/cloudsql.admin": _SQL_ADMIN,
    "roles/serviceusage.serviceUsageViewer": _USAGE_VIEW,
    "roles/serviceusage.serviceUsageConsumer": _USAGE_VIEW | _each("serviceusage.services", "use"),
    "roles/serviceusage.serviceUsageAdmin": _USAGE_ADMIN,
    "roles/iam.roleViewer": _ROLE_VIEW | _each("resourcemanager.projects", "get getIamPolicy"),
    "roles/iam.roleAdmin": _ROLE_ADMIN | _each("resourcemanager.projects", "get getIamPolicy"),
    "roles/iam.serviceAccountAdmin": _ACCOUNT_ADMIN,
    "roles/iam.serviceAccountCreator": _each("iam.serviceAccounts", "create get list"),
    "roles/iam.serviceAccountDeleter": _each("iam.serviceAccounts", "delete get list"),
    "roles/iam.serviceAccountUser": _ACCOUNT_USE,
    "roles/iam.serviceAccountTokenCreator": _TOKENS,
    "roles/iam.serviceAccountOpenIdTokenCreator": _each("iam.serviceAccounts", "getOpenIdToken"),
    "roles/iam.workloadIdentityUser": _each(
        "iam.serviceAccounts", "get getAccessToken getOpenIdToken list"
    ),
    "roles/iam.workloadIdentityPoolViewer": _POOL_VIEW,
    "roles/iam.workloadIdentityPoolAdmin": _POOL_ADMIN,
    "roles/iam.serviceAccountKeyAdmin": _each(
        "iam.serviceAccountKeys", "create delete disable enable get list upload"
    )
    | _each("iam.serviceAccounts", "get list"),
    "roles/viewer": _VIEWER,
    "roles/editor": _EDITOR,
    "roles/owner": _EDITOR
    | _RUN_ADMIN
    | _STORAGE_ADMIN
    | _HMAC_ADMIN
    | _SECRET_ADMIN
    | _PUBSUB_ADMIN
    | _PROJECT_IAM
    | _ROLE_ADMIN
    | _ACCOUNT_ADMIN
    | _POOL_ADMIN
    | _REGISTRY_ADMIN
    | _each("iam.serviceAccountKeys", "create delete get list"),
}


def smallest_role_with(permission: str) -> str | None:
    """Return the least powerful role that carries `permission`."""
    having = [name for name, held in ROLES.items() if permission in held]
    return min(having, key=lambda name: len(ROLES[name]), default=None)


# Basic roles carry far more than anything needs.
_BASIC = frozenset({"roles/viewer", "roles/editor", "roles/owner"})
_MOST_TOGETHER = 3


def smallest_roles_for(permissions: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the fewest predefined roles that carry all permissions, and what none of them has.

    Of several sets the one with the fewest permissions is taken. Each service is covered by itself;
    basic roles are left out.
    """
    services: dict[str, set[str]] = {}
    for permission in permissions:
        services.setdefault(permission.partition(".")[0], set()).add(permission)
    chosen: set[str] = set()
    missing: list[str] = []
    for wanted in services.values():
        names = [name for name, held in ROLES.items() if held & wanted and name not in _BASIC]
        known = frozenset().union(*(ROLES[name] for name in names))
        missing += sorted(wanted - known)
        chosen.update(_cover(wanted & known, names))
    return sorted(chosen), sorted(missing)


def _cover(wanted: set[str], names: list[str]) -> tuple[str, ...]:
    for size in range(1, _MOST_TOGETHER + 1):
        covers = (each for each in combinations(names, size) if wanted <= _together(each))
        if best := min(covers, key=lambda each: len(_together(each)), default=()):
            return best
    # An account that uses as much as this: the smallest role for each permission.
    return tuple(filter(None, (smallest_role_with(one) for one in wanted)))


def _together(names: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(ROLES[name] for name in names))


# Everything that some predefined role has; a custom role can have nothing else.
PERMISSIONS = frozenset().union(*ROLES.values())
