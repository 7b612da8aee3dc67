"""Permissions of Google's predefined roles, as far as the emulated services check them.

From the published role reference (https://cloud.google.com/iam/docs/understanding-roles).
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

from devenv.gcp.iam import permissions as of

ROLES: Mapping[str, frozenset[str]] = {
    "roles/run.invoker": frozenset({"run.jobs.run", "run.routes.invoke"}),
    "roles/run.servicesInvoker": frozenset({"run.routes.invoke"}),
    "roles/run.jobsExecutor": of.JOBS_EXECUTE,
    "roles/run.jobsExecutorWithOverrides": of.JOBS_EXECUTE | {"run.jobs.runWithOverrides"},
    "roles/run.viewer": of.RUN_VIEW,
    "roles/run.developer": of.RUN_DEVELOP,
    "roles/run.admin": of.RUN_ADMIN,
    "roles/cloudtasks.enqueuer": of.each("cloudtasks.tasks", "create fullView"),
    "roles/cloudtasks.taskRunner": of.each("cloudtasks.tasks", "fullView run"),
    "roles/cloudtasks.taskDeleter": of.each("cloudtasks.tasks", "delete"),
    "roles/cloudtasks.viewer": of.TASKS_VIEW,
    "roles/cloudtasks.queueAdmin": of.TASKS_ADMIN
    - of.each("cloudtasks.tasks", "create fullView run"),
    "roles/cloudtasks.admin": of.TASKS_ADMIN,
    "roles/cloudscheduler.viewer": of.SCHEDULER_VIEW,
    "roles/cloudscheduler.jobRunner": of.each("cloudscheduler.jobs", "fullView run"),
    "roles/cloudscheduler.admin": of.SCHEDULER_VIEW
    | of.each("cloudscheduler.jobs", "create delete enable fullView pause run update"),
    "roles/storage.objectViewer": of.OBJECT_VIEW,
    "roles/storage.objectCreator": of.OBJECT_CREATE,
    "roles/storage.objectUser": of.OBJECT_USE,
    "roles/storage.objectAdmin": of.OBJECT_ADMIN,
    "roles/storage.legacyBucketReader": of.BUCKET_READ | of.each(of.OBJECTS, "list"),
    "roles/storage.legacyBucketWriter": of.BUCKET_READ
    | of.each(of.OBJECTS, "create delete list")
    | of.each(of.UPLOADS, "abort create list listParts"),
    "roles/storage.legacyBucketOwner": of.each(
        "storage.buckets", "get getIamPolicy setIamPolicy update"
    )
    | of.each(of.OBJECTS, "create delete list restore")
    | of.each(of.UPLOADS, "abort create list listParts"),
    "roles/storage.legacyObjectReader": of.each(of.OBJECTS, "get"),
    "roles/storage.legacyObjectOwner": of.each(
        of.OBJECTS, "get getIamPolicy overrideUnlockedRetention setIamPolicy update"
    ),
    "roles/storage.bucketViewer": of.each("storage.buckets", "get list"),
    "roles/storage.admin": of.STORAGE_ADMIN,
    "roles/storage.hmacKeyAdmin": of.HMAC_ADMIN,
    "roles/secretmanager.secretAccessor": of.each("secretmanager.versions", "access"),
    "roles/secretmanager.secretVersionAdder": of.each("secretmanager.versions", "add"),
    "roles/secretmanager.secretVersionManager": of.each(
        "secretmanager.versions", "add destroy disable enable get list"
    ),
    "roles/secretmanager.viewer": of.SECRET_VIEW | of.each("secretmanager.secrets", "getIamPolicy"),
    "roles/secretmanager.admin": of.SECRET_ADMIN,
    "roles/pubsub.publisher": of.each("pubsub.topics", "publish"),
    "roles/pubsub.subscriber": of.PUBSUB_SUBSCRIBE,
    "roles/pubsub.viewer": of.PUBSUB_VIEW,
    "roles/pubsub.editor": of.PUBSUB_EDIT,
    "roles/pubsub.admin": of.PUBSUB_ADMIN,
    "roles/logging.logWriter": of.LOGGING_WRITE,
    "roles/logging.viewer": of.LOGGING_VIEW,
    "roles/logging.privateLogViewer": of.LOGGING_VIEW | of.LOG_VIEW_ACCESS,
    "roles/logging.viewAccessor": of.LOG_VIEW_ACCESS,
    "roles/logging.configWriter": of.LOGGING_CONFIG,
    "roles/monitoring.viewer": of.MONITORING_VIEW,
    "roles/monitoring.editor": of.MONITORING_EDIT,
    "roles/monitoring.metricWriter": of.METRICS_WRITE,
    "roles/logging.admin": of.LOGGING_ADMIN,
    "roles/telemetry.tracesWriter": of.TRACES_WRITE,
    "roles/telemetry.logsWriter": of.each("telemetry.logs", "write"),
    "roles/telemetry.metricsWriter": of.each("telemetry.metrics", "write"),
    "roles/telemetry.writer": of.TELEMETRY_WRITE,
    "roles/telemetry.editor": of.TELEMETRY_WRITE | of.each("resourcemanager.projects", "get list"),
    "roles/cloudtrace.agent": of.TRACES_WRITE | of.each("cloudtrace.traces", "patch"),
    "roles/cloudtrace.user": of.TRACES_READ,
    "roles/cloudtrace.admin": of.TRACES_READ | of.each("cloudtrace.traces", "patch"),
    "roles/resourcemanager.projectIamAdmin": of.PROJECT_IAM,
    "roles/browser": of.each("resourcemanager.projects", "get getIamPolicy list"),
    "roles/iam.securityReviewer": of.each("resourcemanager.projects", "getIamPolicy list")
    | of.each("iam.roles", "get list")
    | of.each("cloudtasks.queues", "getIamPolicy list")
    | of.each("iam.serviceAccounts", "getIamPolicy list")
    | of.each("run.jobs", "getIamPolicy list")
    | of.each("run.services", "getIamPolicy list")
    | of.each("secretmanager.secrets", "getIamPolicy list")
    | of.each("storage.buckets", "getIamPolicy list"),
    "roles/artifactregistry.reader": of.REGISTRY_READ,
    "roles/artifactregistry.writer": of.REGISTRY_WRITE,
    "roles/artifactregistry.repoAdmin": of.REGISTRY_WRITE | of.each(of.REGISTRY, "deleteArtifacts"),
    "roles/artifactregistry.admin": of.REGISTRY_ADMIN,
    "roles/cloudsql.viewer": of.SQL_VIEW,
    "roles/cloudsql.client": of.SQL_CONNECT,
    "roles/cloudsql.editor": of.SQL_EDIT,
    "roles/cloudsql.admin": of.SQL_ADMIN,
    "roles/compute.networkViewer": of.NETWORK_VIEW,
    "roles/compute.networkUser": of.NETWORK_USE,
    "roles/compute.networkAdmin": of.NETWORK_ADMIN,
    "roles/compute.securityAdmin": of.NETWORK_SECURITY,
    "roles/serviceusage.serviceUsageViewer": of.USAGE_VIEW,
    "roles/serviceusage.serviceUsageConsumer": of.USAGE_VIEW
    | of.each("serviceusage.services", "use"),
    "roles/serviceusage.serviceUsageAdmin": of.USAGE_ADMIN,
    "roles/iam.roleViewer": of.ROLE_VIEW | of.each("resourcemanager.projects", "get getIamPolicy"),
    "roles/iam.roleAdmin": of.ROLE_ADMIN | of.each("resourcemanager.projects", "get getIamPolicy"),
    "roles/iam.serviceAccountAdmin": of.ACCOUNT_ADMIN,
    "roles/iam.serviceAccountCreator": of.each("iam.serviceAccounts", "create get list"),
    "roles/iam.serviceAccountDeleter": of.each("iam.serviceAccounts", "delete get list"),
    "roles/iam.serviceAccountUser": of.ACCOUNT_USE,
    "roles/iam.serviceAccountTokenCreator": of.TOKENS,
    "roles/iam.serviceAccountOpenIdTokenCreator": of.each("iam.serviceAccounts", "getOpenIdToken"),
    "roles/iam.workloadIdentityUser": of.each(
        "iam.serviceAccounts", "get getAccessToken getOpenIdToken list"
    ),
    "roles/iam.workloadIdentityPoolViewer": of.POOL_VIEW,
    "roles/iam.workloadIdentityPoolAdmin": of.POOL_ADMIN,
    "roles/iam.serviceAccountKeyAdmin": of.each(
        "iam.serviceAccountKeys", "create delete disable enable get list upload"
    )
    | of.each("iam.serviceAccounts", "get list"),
    "roles/viewer": of.VIEWER,
    "roles/editor": of.EDITOR,
    "roles/owner": of.EDITOR
    | of.RUN_ADMIN
    | of.STORAGE_ADMIN
    | of.HMAC_ADMIN
    | of.SECRET_ADMIN
    | of.PUBSUB_ADMIN
    | of.PROJECT_IAM
    | of.ROLE_ADMIN
    | of.ACCOUNT_ADMIN
    | of.POOL_ADMIN
    | of.REGISTRY_ADMIN
    | of.each("iam.serviceAccountKeys", "create delete get list"),
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
