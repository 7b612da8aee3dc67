"""Answers of the control API about a project, its accounts, what they used, what was refused."""

from collections.abc import Iterable, Mapping
from typing import Any

from devenv.gcp.config import CloudConfig
from devenv.gcp.iam.guard import short_resource
from devenv.gcp.iam.policies import Policies
from devenv.gcp.iam.roles import smallest_role_with, smallest_roles_for
from devenv.gcp.journal import Journal


class IamUsage:
    """The views `project` and `permissions` of the control API.

    Everything is of the calls that the journal still has: an account that was not used for long has
    used nothing.
    """

    def __init__(
        self, config: CloudConfig, journal: Journal, policies: Policies, accounts: Iterable[str]
    ) -> None:
        self._config = config
        self._journal = journal
        self._policies = policies
        self._accounts = tuple(accounts)

    def project(self, _query: Mapping[str, str]) -> dict[str, Any]:
        config = self._config
        return {
            "project": config.project,
            "number": config.number,
            "region": config.region,
            "iam": config.iam,
            "accounts": self._accounts,
        }

    def permissions(self, _query: Mapping[str, str]) -> dict[str, Any]:
        used = self._journal.permissions()
        callers = [*self._accounts, *sorted(set(used) - set(self._accounts))]
        return {
            "accounts": [self._account(caller, used.get(caller, {})) for caller in callers],
            "refused": [self._refusal(row) for row in self._journal.refused()],
        }

    def _account(self, caller: str, used: Mapping[str, int]) -> dict[str, Any]:
        roles, missing = smallest_roles_for(used)
        bound = self._policies.roles_of(f"serviceAccount:{caller}")
        held = {p for role, _, _ in bound for p in self._policies.roles.permissions(role)}
        return {
            "caller": caller,
            "used": dict(sorted(used.items())),
            "suffice": roles,
            "missing": missing,
            "bound": [{"role": r, "resource": on, "condition": c} for r, on, c in sorted(bound)],
            "unused": sorted(held - set(used)),
        }

    def _refusal(self, row: dict[str, Any]) -> dict[str, Any]:
        role = smallest_role_with(row["permission"])
        who = row["caller"].partition("@")[0]
        line = f'{{ member = "{who or "allUsers"}", role = "{role}", resource = "{short_resource(row["target"])}" }}'
        return {**row, "role": role or "", "line": line if role else ""}
