"""IAM policies: who has which role on a resource, as callers and devenv.toml have set them.

Each resource has a policy of its own, empty at first. The bindings of devenv.toml hold again after
every start, and one that the file no longer has is removed; other bindings stay as callers set
them. A policy goes with its resource, so that a new resource of the same name inherits no rights.

A policy is read, changed and written as a whole; its etag keeps two callers from overwriting each
other. See https://cloud.google.com/iam/docs/allow-policies.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.iam.v1 import policy_pb2

from devenv.gcp.config import CloudConfig, IamBinding
from devenv.gcp.errors import Aborted, InvalidArgument
from devenv.gcp.iam.conditions import is_condition
from devenv.gcp.iam.custom_roles import Roles
from devenv.gcp.messages import every, refuse_unemulated
from devenv.gcp.store import DeclaredNames, Store

Policy = policy_pb2.Policy

EVERYBODY = "allUsers"
EVERY_ACCOUNT = "allAuthenticatedUsers"
CONDITIONAL = 3  # the version of policies with conditions
_VERSIONS = (0, 1, CONDITIONAL)
_MOST_MEMBERS = 1500  # https://cloud.google.com/iam/quotas
_FIELDS = every(
    "version",
    "etag",
    bindings=every("role", "members", condition=every("expression", "title", "description")),
)
_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(user|group|serviceAccount):[^@\s:]+@[^@\s:]+"
    r"|domain:[^@\s:]+|principal(Set)?://\S+|deleted:\S+|project(Owner|Editor|Viewer):\S+"
)


@dataclass(frozen=True, slots=True)
class GrantedRole:
    """A binding as decisions use it: members have a role while the condition is true."""

    members: frozenset[str]
    role: str
    condition: str = ""


class Policies:
    """The policies of all resources of a project, by full name, in the store.

    `is_account` tells whether the project has a service account of this address.
    """

    def __init__(
        self, config: CloudConfig, store: Store, *, is_account: Callable[[str], bool]
    ) -> None:
        self._config = config
        self._is_account = is_account
        self.roles = Roles(config, store)
        self._table = store.table("iam_policies")
        self._granted: dict[str, tuple[GrantedRole, ...]] = {}
        self._changes = 0
        with store.transaction():
            self._follow_file(DeclaredNames(store.table("iam_declared")))
        self.load()

    def load(self) -> None:
        """Read the policies, for example after a transaction that was rolled back."""
        stored = self._table.scan()
        self._granted = {name: _granted(Policy.FromString(value)) for name, value in stored}
        self._changes += 1

    @property
    def revision(self) -> int:
        """A number that grows with each change of a policy or of a role."""
        return self._changes + self.roles.changes

    def granted(self, resource: str) -> tuple[GrantedRole, ...]:
        """Return the bindings of a resource itself, without those that it inherits."""
        return self._granted.get(resource, ())

    def roles_of(self, member: str) -> list[tuple[str, str, str]]:
        """Return the bindings of a member itself: (role, resource, condition)."""
        return [
            (granted.role, resource, granted.condition)
            for resource, bindings in sorted(self._granted.items())
            for granted in bindings
            if member in granted.members
        ]

    def read(self, resource: str, *, version: int = 0) -> Any:
        """Return the google.iam.v1.Policy of a resource in the version that a caller asks for.

        A caller that does not know conditions gets roles of conditional bindings with a suffix.
        """
        if version not in _VERSIONS:
            raise InvalidArgument(f"Requested policy version {version} is not 0, 1 or 3.")
        policy = self._stored(resource)
        if version < CONDITIONAL and any(_conditional(policy)):
            for binding in _conditional(policy):
                digest = hashlib.sha256(binding.condition.expression.encode()).hexdigest()[:20]
                binding.role = f"{binding.role}_withcond_{digest}"
                binding.ClearField("condition")
            policy.version = 1
        return policy

    def write(self, resource: str, wanted: Any) -> Any:
        """Replace the policy of a resource, and return it. Raises InvalidArgument or Aborted.

        Aborted means that `wanted` was read before somebody else changed the policy.
        """
        self._check(wanted)
        before = self._stored(resource)
        if wanted.etag and wanted.etag != before.etag:
            raise Aborted(
                "There were concurrent policy changes. Please retry the whole read-modify-write "
                "with exponential backoff."
            )
        return self._save(resource, wanted)

    def forget(self, resource: str) -> None:
        """Remove the policies of a deleted resource and of everything below it."""
        self._changes += 1
        for name, _ in list(self._table.scan(resource)):
            if name == resource or name.startswith(f"{resource}/"):
                self._table.delete(name)
                self._granted.pop(name, None)

    def rename_member(self, before: str, after: str) -> None:
        """Put another member in a member's place in all policies, where it was deleted or restored."""
        for resource, value in list(self._table.scan()):
            policy = Policy.FromString(value)
            named = [binding for binding in policy.bindings if before in binding.members]
            for binding in named:
                binding.members.remove(before)
                binding.members.append(after)
            if named:
                self._save(resource, policy)

    def member(self, short: str) -> str:
        """Return a member of devenv.toml as policies name it."""
        if short in (EVERYBODY, EVERY_ACCOUNT) or _MEMBER.fullmatch(short):
            return short
        return f"serviceAccount:{self._config.email(short)}"

    def resource(self, short: str) -> str:
        """Return the full name of devenv.toml's `project`, `queue/NAME`, `bucket/NAME` and so on."""
        kind, _, name = short.partition("/")
        project = f"projects/{self._config.project}"
        match kind:
            case "project":
                return project
            case "bucket":
                return f"projects/_/buckets/{name}"
            case "account":
                return f"{project}/serviceAccounts/{self._config.email(name)}"
            case "secret" | "topic" | "subscription":
                return f"{project}/{kind}s/{name}"
            case _:
                return f"{project}/locations/{self._config.region}/{kind}s/{name}"

    def _follow_file(self, declared: DeclaredNames) -> None:
        """Remove the bindings that devenv.toml no longer has, and add those that it has."""
        public = (
            IamBinding(EVERYBODY, "roles/run.invoker", f"service/{service.name}")
            for service in self._config.services
            if service.public
        )
        wanted = [
            (self.resource(each.resource), each.role, self.member(each.member), each.condition)
            for each in (*self._config.bindings, *public)
        ]
        for line in declared.replace("\n".join(each) for each in wanted):
            resource, role, member, condition = line.split("\n", 3)
            self._remove(resource, role, member, condition)
        for resource, role, member, condition in wanted:
            self._add(resource, role, member, condition)

    def _add(self, resource: str, role: str, member: str, condition: str) -> None:
        policy = self._stored(resource)
        binding = _binding(policy, role, condition)
        if binding is None:
            binding = policy.bindings.add(role=role)
            if condition:
                binding.condition.expression = condition
                binding.condition.title = "devenv.toml"
        if member not in binding.members:
            binding.members.append(member)
            self._save(resource, policy)

    def _remove(self, resource: str, role: str, member: str, condition: str) -> None:
        policy = self._stored(resource)
        binding = _binding(policy, role, condition)
        if binding is not None and member in binding.members:
            binding.members.remove(member)
            self._save(resource, policy)

    def _stored(self, resource: str) -> Any:
        return Policy.FromString(self._table.get(resource) or _EMPTY)

    def _save(self, resource: str, wanted: Any) -> Any:
        policy = Policy(version=1)
        for binding in wanted.bindings:
            if not binding.members:
                continue
            same = _binding(policy, binding.role, binding.condition.expression)
            if same is None:
                same = policy.bindings.add(role=binding.role)
                if binding.HasField("condition"):
                    same.condition.CopyFrom(binding.condition)
                    policy.version = CONDITIONAL
            same.members.extend(each for each in binding.members if each not in same.members)
        policy.etag = secrets.token_bytes(9)
        self._table.put(resource, policy.SerializeToString())
        self._granted[resource] = _granted(policy)
        self._changes += 1
        return policy

    def _check(self, policy: Any) -> None:
        refuse_unemulated(policy, _FIELDS, where="policy")
        if any(_conditional(policy)) and policy.version != CONDITIONAL:
            raise InvalidArgument(
                f"A policy with conditions must have version 3; this one has {policy.version}."
            )
        if sum(len(binding.members) for binding in policy.bindings) > _MOST_MEMBERS:
            raise InvalidArgument(f"A policy has at most {_MOST_MEMBERS} members.")
        for binding in policy.bindings:
            if not self.roles.knows(binding.role):
                raise InvalidArgument(
                    f"Role {binding.role[:200]} is not supported for this resource."
                )
            expression = binding.condition.expression
            if binding.HasField("condition") and not is_condition(expression):
                raise InvalidArgument(
                    f"The condition {expression[:200]!r} of {binding.role} is not an expression "
                    "that is true or false."
                )
            for member in binding.members:
                self._check_member(member)

    def _check_member(self, member: str) -> None:
        if not _MEMBER.fullmatch(member):
            raise InvalidArgument(
                f"The member {member[:200]} is of an unknown type. Please set a valid type prefix "
                "for the member."
            )
        kind, _, email = member.partition(":")
        own = email.endswith(f"@{self._config.project}.iam.gserviceaccount.com")
        if kind == "serviceAccount" and own and not self._is_account(email):
            raise InvalidArgument(f"Service account {email[:200]} does not exist.")


# Google's etag of a policy that was never written, ACAB in base64.
_EMPTY = Policy(version=1, etag=b"\x00\x20\x01").SerializeToString()


def _binding(policy: Any, role: str, condition: str) -> Any:
    """Return the binding with this role and condition, None if there is none."""
    same = (b for b in policy.bindings if (b.role, b.condition.expression) == (role, condition))
    return next(same, None)


def _conditional(policy: Any) -> Iterator[Any]:
    return (binding for binding in policy.bindings if binding.HasField("condition"))


def _granted(policy: Any) -> tuple[GrantedRole, ...]:
    return tuple(
        GrantedRole(frozenset(binding.members), binding.role, binding.condition.expression)
        for binding in policy.bindings
    )
