"""Roles on one resource: what the accounts of a stage, and nobody else of the stage, may do there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from google.api_core.exceptions import NotFound
from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest, SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding, Policy

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command

ALL_USERS = "allUsers"
_CONDITIONS = 3  # the version of policies that may have conditions
# Kinds of resources with a policy, as gcloud calls them.
_WORDS = {
    "account": "iam service-accounts",
    "bucket": "storage buckets",
    "job": "run jobs",
    "queue": "tasks queues",
    "repository": "artifacts repositories",
    "secret": "secrets",
    "service": "run services",
}

# Attributes of GoogleCloud; the client for buckets has policies of its own.
_CLIENTS = {
    "account": "accounts",
    "job": "jobs",
    "queue": "queues",
    "repository": "repositories",
    "secret": "secrets",
    "service": "services",
}


@dataclass(frozen=True, kw_only=True)
class RoleBindings(Resource):
    """The roles of a stage's accounts on one resource.

    `target` is the kind of the resource, and `on` its short name; `roles` maps each role to short
    names of accounts, or `allUsers`. An account of the stage that has another role there loses it;
    members that are not of the stage keep theirs.
    """

    kind: ClassVar[str] = "access"

    cloud: GoogleCloud
    target: str
    on: str
    roles: Mapping[str, Sequence[str]]
    accounts: frozenset[str]

    @property
    def name(self) -> str:  # type: ignore[override]  # computed here, a field elsewhere
        """The resource that the roles are on."""
        return f"{self.target}/{self.on}"

    def desired(self) -> Settings:
        return {role: sorted(names) for role, names in self.roles.items() if names}

    def read(self) -> Settings | None:
        try:
            bindings = self._bindings()
        except NotFound:
            return None
        short = {self._member(name): name for name in (*self.accounts, ALL_USERS)}
        found: dict[str, list[str]] = {}
        for role, members in bindings:
            if ours := [short[member] for member in members if member in short]:
                found[role] = sorted({*found.get(role, []), *ours})
        return found if found or not self.desired() else None

    def create(self) -> None:
        self._write(self.desired())

    def update(self, current: Settings) -> None:
        self._write(self.desired())

    def delete(self) -> None:
        self._write({})

    def gcloud(self, action: str, current: Settings) -> list[str]:
        wanted = {} if action == "delete" else self.desired()
        return [
            *self._lines("add-iam-policy-binding", wanted, current),
            *self._lines("remove-iam-policy-binding", current, wanted),
        ]

    def _lines(self, verb: str, having: Settings, other: Settings) -> list[str]:
        place = {"region": self.cloud.region} if self.target in ("job", "service") else {}
        if self.target in ("queue", "repository"):
            place = {"location": self.cloud.region}
        on = {"bucket": f"gs://{self.on}", "account": self.cloud.email(self.on)}
        return [
            command(
                *_WORDS[self.target].split(),
                verb,
                on.get(self.target, self.on),
                member=self._member(name),
                role=role,
                **place,
            )
            for role, names in having.items()
            for name in names
            if name not in other.get(role, [])
        ]

    def _member(self, account: str) -> str:
        return ALL_USERS if account == ALL_USERS else f"serviceAccount:{self.cloud.email(account)}"

    def _bindings(self) -> list[tuple[str, Sequence[str]]]:
        """Return (role, members) of the unconditional bindings."""
        if self.target == "bucket":
            policy = self.cloud.buckets.bucket(self.on).get_iam_policy(
                requested_policy_version=_CONDITIONS
            )
            return [
                (each["role"], list(each["members"]))
                for each in policy.bindings
                if not each.get("condition")
            ]
        return [
            (each.role, list(each.members))
            for each in self._policy().bindings
            if not each.HasField("condition")
        ]

    def _policy(self) -> Policy:
        request = GetIamPolicyRequest(
            resource=self._full, options={"requested_policy_version": _CONDITIONS}
        )
        policy: Policy = self._client.get_iam_policy(request=request)
        return policy

    def _write(self, roles: Settings) -> None:
        """Replace our members of each role, and leave the others; the etag guards against a race."""
        ours = {self._member(name) for name in (*self.accounts, ALL_USERS)}
        wanted = {role: {self._member(name) for name in names} for role, names in roles.items()}
        if self.target == "bucket":
            self._write_to_bucket(ours, wanted)
            return
        policy = self._policy()
        kept: list[Binding] = []
        for binding in policy.bindings:
            if not binding.HasField("condition"):
                members = {*binding.members} - ours | wanted.pop(binding.role, set())
                binding = Binding(role=binding.role, members=sorted(members))  # noqa: PLW2901
            if binding.members:
                kept.append(binding)
        kept += [Binding(role=role, members=sorted(names)) for role, names in wanted.items()]
        changed = Policy(version=policy.version, etag=policy.etag, bindings=kept)
        self._client.set_iam_policy(
            request=SetIamPolicyRequest(resource=self._full, policy=changed)
        )

    def _write_to_bucket(self, ours: set[str], wanted: dict[str, set[str]]) -> None:
        """Do the same for a bucket, whose client has policies of its own."""
        bucket = self.cloud.buckets.bucket(self.on)
        policy = bucket.get_iam_policy(requested_policy_version=_CONDITIONS)
        kept = []
        for binding in policy.bindings:
            if not binding.get("condition"):
                members = {*binding["members"]} - ours | wanted.pop(binding["role"], set())
                binding = {"role": binding["role"], "members": members}  # noqa: PLW2901
            if binding["members"]:
                kept.append(binding)
        policy.bindings = kept + [{"role": role, "members": m} for role, m in wanted.items()]
        bucket.set_iam_policy(policy)

    @property
    def _client(self) -> Any:
        """The client that reads and writes the policy."""
        return getattr(self.cloud, _CLIENTS[self.target])

    @property
    def _full(self) -> str:
        project, place = f"projects/{self.cloud.project}", self.cloud.location
        return {
            "account": f"{project}/serviceAccounts/{self.cloud.email(self.on)}",
            "job": f"{place}/jobs/{self.on}",
            "queue": f"{place}/queues/{self.on}",
            "repository": f"{place}/repositories/{self.on}",
            "secret": f"{project}/secrets/{self.on}",
            "service": f"{place}/services/{self.on}",
        }[self.target]
