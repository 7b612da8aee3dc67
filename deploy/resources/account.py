"""Service accounts, the identities of services, jobs and callers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from google.api_core.exceptions import NotFound
from google.cloud import iam_admin_v1

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, made_for


@dataclass(frozen=True, kw_only=True)
class Account(Resource):
    """A service account; `purpose` is shown in the console."""

    kind: ClassVar[str] = "account"

    cloud: GoogleCloud
    stage: str
    name: str
    purpose: str = ""

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the accounts that were made for a stage."""
        mark = made_for(stage)
        for found in cloud.accounts.list_service_accounts(name=f"projects/{cloud.project}"):
            if found.description == mark:
                yield cls(cloud=cloud, stage=stage, name=found.email.partition("@")[0])

    def desired(self) -> Settings:
        return {"purpose": self.purpose, "description": made_for(self.stage)}

    def read(self) -> Settings | None:
        try:
            found = self.cloud.accounts.get_service_account(name=self._full)
        except NotFound:
            return None
        return {"purpose": found.display_name, "description": found.description}

    def create(self) -> None:
        self.cloud.accounts.create_service_account(
            request=iam_admin_v1.CreateServiceAccountRequest(
                name=f"projects/{self.cloud.project}",
                account_id=self.name,
                service_account=self._wanted(),
            )
        )

    def update(self, current: Settings) -> None:
        self.cloud.accounts.patch_service_account(
            request={
                "service_account": self._wanted(name=self._full),
                "update_mask": {"paths": ["display_name", "description"]},
            }
        )

    def delete(self) -> None:
        self.cloud.accounts.delete_service_account(name=self._full)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        name = self.name if action == "create" else self.cloud.email(self.name)
        shown = {} if action == "delete" else {"display_name": self.purpose}
        described = {} if action == "delete" else {"description": made_for(self.stage)}
        return [command("iam", "service-accounts", action, name, **shown, **described)]

    def _wanted(self, name: str = "") -> iam_admin_v1.ServiceAccount:
        return iam_admin_v1.ServiceAccount(
            name=name, display_name=self.purpose, description=made_for(self.stage)
        )

    @property
    def _full(self) -> str:
        return f"projects/{self.cloud.project}/serviceAccounts/{self.cloud.email(self.name)}"
