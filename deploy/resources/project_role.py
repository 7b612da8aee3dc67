"""Roles on one resource of a kind that has no policy of its own: by a condition in the project's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest, SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding
from google.type.expr_pb2 import Expr

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, made_for

_CONDITIONS = 3  # the version of policies that may have conditions


@dataclass(frozen=True, kw_only=True)
class ConditionalRole(Resource):
    """A role of some accounts in the project, on the resource that the condition names.

    The condition's title is `name`; its description tells the stage.
    """

    kind: ClassVar[str] = "project-role"

    cloud: GoogleCloud
    stage: str
    name: str
    role: str = ""
    accounts: Sequence[str] = ()
    condition: str = ""

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the roles that were made for a stage."""
        for binding in _policy(cloud).bindings:
            if binding.condition.description == made_for(stage):
                yield cls(cloud=cloud, stage=stage, name=binding.condition.title)

    def desired(self) -> Settings:
        return {
            "role": self.role,
            "accounts": sorted(self.accounts),
            "condition": self.condition,
            "description": made_for(self.stage),
        }

    def read(self) -> Settings | None:
        found = [each for each in _policy(self.cloud).bindings if each.condition.title == self.name]
        if not found:
            return None
        first, *others = found
        further = {"further roles": [each.role for each in others]} if others else {}
        return {
            "role": first.role,
            "accounts": sorted(self._short(member) for member in first.members),
            "condition": first.condition.expression,
            "description": first.condition.description,
            **further,
        }

    def create(self) -> None:
        members = [self._member(each) for each in sorted(self.accounts)]
        condition = Expr(
            title=self.name,
            description=made_for(self.stage),
            expression=self.condition,
        )
        self._write([Binding(role=self.role, members=members, condition=condition)])

    def update(self, current: Settings) -> None:
        self.create()

    def delete(self) -> None:
        self._write([])

    def gcloud(self, action: str, current: Settings) -> list[str]:
        wanted = {} if action == "delete" else self.desired()
        return [
            *self._lines("add-iam-policy-binding", wanted, current),
            *self._lines("remove-iam-policy-binding", current, wanted),
        ]

    def _lines(self, verb: str, having: Settings, other: Settings) -> list[str]:
        if having == other or not having:
            return []
        return [
            command(
                *("projects", verb, self.cloud.project),
                member=self._member(account),
                role=having["role"],
                condition=f"^@^title={self.name}@description={having['description']}@expression={having['condition']}",
            )
            for account in having["accounts"]
        ]

    def _write(self, wanted: list[Binding]) -> None:
        """Replace the bindings of this title; all others stay."""
        policy = _policy(self.cloud)
        kept = [each for each in policy.bindings if each.condition.title != self.name]
        del policy.bindings[:]
        policy.bindings.extend([*kept, *wanted])
        policy.version = _CONDITIONS
        request = SetIamPolicyRequest(resource=f"projects/{self.cloud.project}", policy=policy)
        self.cloud.projects.set_iam_policy(request=request)

    def _member(self, account: str) -> str:
        """Return the member of a policy that `_short` gives as `account`."""
        return account if ":" in account else f"serviceAccount:{self.cloud.email(account)}"

    def _short(self, member: str) -> str:
        email = member.partition(":")[2]
        name = email.partition("@")[0]
        return name if email == self.cloud.email(name) else member


def _policy(cloud: GoogleCloud) -> Any:
    request = GetIamPolicyRequest(resource=f"projects/{cloud.project}")
    request.options.requested_policy_version = _CONDITIONS
    return cloud.projects.get_iam_policy(request=request)
