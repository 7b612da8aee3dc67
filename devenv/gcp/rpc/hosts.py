"""The host of each service's REST paths, because services share paths.

`/v1/projects/p/instances` is a list of Cloud SQL at its own host and one of Spanner at another. Only
requests for a host of Google's APIs are told apart: on the plain port a path alone finds its
method.
"""

import re

# By the beginning of a method's name; none of them begins with another.
_SERVICES = {
    "google.api.serviceusage.": {"serviceusage"},
    "google.cloud.billing.": {"billingbudgets"},
    "google.cloud.compute.": {"compute"},
    "google.cloud.location.": {
        *("artifactregistry", "cloudscheduler", "cloudtasks", "run", "secretmanager", "sqladmin"),
    },
    "google.cloud.resourcemanager.": {"cloudresourcemanager"},
    "google.cloud.run.": {"run"},
    "google.cloud.scheduler.": {"cloudscheduler"},
    "google.cloud.secretmanager.": {"secretmanager"},
    "google.cloud.servicenetworking.": {"servicenetworking"},
    "google.cloud.sql.": {"sqladmin"},
    "google.cloud.tasks.": {"cloudtasks"},
    "google.cloudresourcemanager.": {"cloudresourcemanager"},
    "google.devtools.artifactregistry.": {"artifactregistry"},
    "google.devtools.cloudtrace.": {"cloudtrace"},
    "google.iam.admin.": {"iam"},
    "google.iam.credentials.": {"iamcredentials"},
    "google.iam.v1.": {"pubsub"},
    "google.logging.": {"logging"},
    "google.longrunning.": {"run"},
    "google.monitoring.": {"monitoring"},
    "google.pubsub.": {"pubsub"},
    "opentelemetry.": {"telemetry"},
}
_APIS = ".googleapis.com"
_REGION = re.compile(r"[a-z]+-[a-z]+\d+-")


def services_of(method: str) -> frozenset[str]:
    """Return the services (`run`) whose hosts serve `method`. Raises LookupError for an unknown one."""
    for prefix, services in _SERVICES.items():
        if method.startswith(prefix):
            return frozenset(services)
    raise LookupError(f"{method} has no host: add its package to {__name__}")


def service_at(host: str) -> str:
    """Return the service that answers at a host of Google's APIs; nothing for other hosts.

    Regional hosts (`us-west1-run.googleapis.com`, `run.us-west1.rep.googleapis.com`) and those for
    client certificates (`run.mtls.googleapis.com`) belong to the same service, and those of endpoints in
    a network of one's own (`run-NAME.p.googleapis.com`).
    """
    name = host.partition(":")[0].lower()
    if not name.endswith(_APIS):
        return ""
    service = name.partition(".")[0]
    if name.endswith(f".p{_APIS}"):  # no name of a service has a hyphen
        return service.partition("-")[0]
    return _REGION.sub("", service, count=1)
