"""IAM decisions: whether a caller may do something, and the refusal that names what is missing.

Bindings are those of the resource's policy and of everything above it. A refusal has Google's text
and, as a second detail, the line for devenv.toml that would allow the call. The token limits come
first, in every mode: a downscoped token works with Cloud Storage only, and a token with scopes works
with the services of its scopes.
"""

import logging
from functools import lru_cache

from google.rpc.error_details_pb2 import ErrorInfo, LocalizedMessage

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import PermissionDenied
from devenv.gcp.iam.conditions import condition_holds, resource_type
from devenv.gcp.iam.policies import EVERY_ACCOUNT, EVERYBODY, Policies
from devenv.gcp.iam.roles import smallest_role_with
from devenv.gcp.journal import note_decision

log = logging.getLogger(__name__)
_MOST_KNOWN = 4096
_SHORT = {
    "buckets": "bucket",
    "jobs": "job",
    "queues": "queue",
    "secrets": "secret",
    "serviceAccounts": "account",
    "services": "service",
    "subscriptions": "subscription",
    "topics": "topic",
}
# The scopes, beside that of the cloud platform, that give access to a service.
_SCOPES = {
    "storage": {"devstorage.full_control", "devstorage.read_write"},
    "cloudtasks": {"cloud-tasks"},
    "logging": {"logging.admin"},
    "pubsub": {"pubsub"},
    "monitoring": {"monitoring"},
    "iam": {"iam"},
}
# Of the scopes of Cloud Storage only full control reaches policies and access control lists.
_POLICY_SCOPES = {"devstorage.full_control"}
# The scopes that are for one permission alone.
_WRITING_SCOPES = {
    "logging.logEntries.create": "logging.write",
    "monitoring.metricDescriptors.create": "monitoring.write",
    "monitoring.timeSeries.create": "monitoring.write",
    "telemetry.logs.write": "logging.write",
    "telemetry.metrics.write": "monitoring.write",
    "telemetry.traces.write": "trace.append",
}


class Iam:
    """The Guard of one project: its policies, inherited downwards, and the limits of tokens."""

    def __init__(self, config: CloudConfig, policies: Policies, clock: Clock) -> None:
        self._mode = config.iam
        self._config = config
        self._policies = policies
        self._clock = clock
        self._project = f"projects/{config.project}"
        # By caller and permission, whether the policy of the project grants it without a condition;
        # for as long as policies and roles stay as they are.
        self._project_wide: dict[tuple[str, str], bool] = {}
        self._revision = -1

    def require(self, caller: ApiCaller, permission: str, resource: str) -> None:
        if caller.is_operator:
            return
        # Here the token is limited, not the account: no mode lifts that.
        if _is_bounded(caller, permission):
            raise PermissionDenied(_BOUNDED.format(permission=permission))
        if not is_in_scope(caller, permission):
            reason = ErrorInfo(reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT", domain="googleapis.com")
            raise PermissionDenied("Request had insufficient authentication scopes.", (reason,))
        if self._mode == "off" or self._grants(caller, permission, resource):
            _note(caller, permission, resource, allowed=True)
            return
        _note(caller, permission, resource, allowed=self._mode == "warn")
        hint = self._hint(caller.email, permission, resource)
        log.warning("%s", hint)
        if self._mode == "strict":
            raise _refusal(permission, resource, hint)

    def allows(self, caller: ApiCaller, permission: str, resource: str) -> bool:
        """Return whether a binding grants `permission`, whatever the mode."""
        if caller.is_operator:
            return True
        if _is_bounded(caller, permission) or not is_in_scope(caller, permission):
            return False
        return self._grants(caller, permission, resource)

    def _grants(self, caller: ApiCaller, permission: str, resource: str) -> bool:
        """Return whether a binding grants a permission to a caller, whatever its token."""
        if self._allows_everywhere(caller, permission):
            return True
        name = self._canonical(resource)
        members = members_of(caller)
        for place in self._places(name):
            for granted in self._policies.granted(place):
                if (
                    not members.isdisjoint(granted.members)
                    and permission in self._policies.roles.permissions(granted.role)
                    and self._holds(granted.condition, name)
                ):
                    return True
        return False

    def _allows_everywhere(self, caller: ApiCaller, permission: str) -> bool:
        """Return whether the project grants a permission without a condition, for all resources."""
        if self._revision != self._policies.revision:
            self._revision = self._policies.revision
            self._project_wide.clear()
        key = caller.email, permission
        if (known := self._project_wide.get(key)) is None:
            members = members_of(ApiCaller(caller.email))
            known = any(
                not granted.condition
                and not members.isdisjoint(granted.members)
                and permission in self._policies.roles.permissions(granted.role)
                for granted in self._policies.granted(self._project)
            )
            if len(self._project_wide) < _MOST_KNOWN:
                self._project_wide[key] = known
        return known

    def forget(self, resource: str) -> None:
        self._policies.forget(self._canonical(resource))

    def _holds(self, condition: str, resource: str) -> bool:
        if not condition:
            return True
        if resource_type(resource).startswith("secretmanager."):
            # Conditions see the project's number in the names of secrets.
            _, _, below = resource.split("/", 2)
            resource = f"projects/{self._config.number}/{below}"
        return condition_holds(condition, resource, now=self._clock.now())

    def _canonical(self, resource: str) -> str:
        """Return a full name with the project's id, for its number or `-` too."""
        project = self._project
        for other in ("projects/-", f"projects/{self._config.number}"):
            if resource == other or resource.startswith(f"{other}/"):
                return project + resource.removeprefix(other)
        return resource

    def _places(self, name: str) -> list[str]:
        """Return a resource and everything above it, from which it inherits."""
        parts = name.split("/")
        above = ["/".join(parts[: end + 1]) for end in range(3, len(parts), 2)]
        return [self._project, *above]

    def _hint(self, email: str, permission: str, resource: str) -> str:
        who = email if _is_agent(email) or "://" in email else email.partition("@")[0] or EVERYBODY
        role = smallest_role_with(permission)
        if role is None:
            return f"{who} lacks {permission} on {resource}; no role known here has it."
        return (
            f"{who} lacks {permission} on {resource}. {role} has it; in devenv.toml: "
            f'{{ member = "{who}", role = "{role}", resource = "{short_resource(resource)}" }}'
        )


def _note(caller: ApiCaller, permission: str, resource: str, *, allowed: bool) -> None:
    """Note a decision on the call in progress, unless it is on an agent that acts beside it."""
    if not _is_agent(caller.email):
        note_decision(permission, resource, allowed=allowed)


@lru_cache(maxsize=1024)
def _is_agent(email: str) -> bool:
    """Return whether an account is a service agent: Google's own, and named in full."""
    return email.partition("@")[2].startswith(("gcp-sa-", "gs-project-accounts."))


def members_of(caller: ApiCaller) -> frozenset[str]:
    """Return the members of policies that a caller is; without an address it is anonymous."""
    email = caller.email
    if not email:
        return frozenset({EVERYBODY})
    if email.startswith("principal://"):
        return frozenset({email, *caller.sets, EVERY_ACCOUNT, EVERYBODY})
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    return frozenset({f"{kind}:{email}", EVERY_ACCOUNT, EVERYBODY})


def _is_bounded(caller: ApiCaller, permission: str) -> bool:
    """Return whether the caller's token is downscoped and this is not Cloud Storage.

    Only Cloud Storage supports access boundaries; it checks the boundary's rules itself.
    """
    return caller.boundary is not None and not permission.startswith("storage.")


def is_in_scope(caller: ApiCaller, permission: str) -> bool:
    """Return whether one of the token's scopes covers the permission's service.

    https://developers.google.com/identity/protocols/oauth2/scopes
    """
    if not caller.scopes:
        return True
    service, _, rest = permission.partition(".")
    scopes = {scope.removeprefix("https://www.googleapis.com/auth/") for scope in caller.scopes}
    is_policy = service == "storage" and permission.endswith("IamPolicy")
    covering = _POLICY_SCOPES if is_policy else _SCOPES.get(service, set())
    if "cloud-platform" in scopes or scopes & covering:
        return True
    if _WRITING_SCOPES.get(permission) in scopes:
        return True
    reading = {
        "logging": "logging.read",
        "monitoring": "monitoring.read",
        "storage": "devstorage.read_only",
    }
    return rest.endswith((".get", ".list")) and reading.get(service) in scopes


def short_resource(resource: str) -> str:
    """Return how devenv.toml names `resource` or what it belongs to."""
    parts = resource.split("/")
    for collection, name in zip(parts[::2], parts[1::2], strict=False):
        if collection in _SHORT:
            return f"{_SHORT[collection]}/{name.partition('@')[0]}"
    return "project"


def _refusal(permission: str, resource: str, hint: str) -> PermissionDenied:
    service = permission.partition(".")[0]
    text = _TEXTS.get(service, _DENIED)
    info = ErrorInfo(
        reason="IAM_PERMISSION_DENIED",
        domain="iam.googleapis.com",
        metadata={"permission": permission, "resource": resource},
    )
    message = text.format(permission=permission, resource=resource)
    return PermissionDenied(message, (info, LocalizedMessage(locale="en", message=hint)))


_BOUNDED = (
    "Permission '{permission}' denied: the access token is downscoped by a Credential Access "
    "Boundary, which gives access to Cloud Storage only."
)
_DENIED = "Permission '{permission}' denied on resource '{resource}' (or resource may not exist)."
_LACKS = (
    'The principal (user or service account) lacks IAM permission "{permission}" for the resource '
    '"{resource}" (or the resource may not exist).'
)
_TEXTS = {
    "compute": "Required '{permission}' permission for '{resource}'",
    "cloudtasks": _LACKS,
    "cloudscheduler": _LACKS,
    "cloudsql": "The client is not authorized to make this request.",
    "logging": "Permission '{permission}' denied on resource (or it may not exist).",
    "pubsub": "User not authorized to perform this action.",
}
