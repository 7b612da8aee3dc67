"""Custom roles of a project: permissions that no predefined role has without others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from google.api_core.exceptions import NotFound
from google.cloud import iam_admin_v1

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, made_for


@dataclass(frozen=True, kw_only=True)
class CustomRole(Resource):
    """A custom role of the project for one stage; its id has no hyphens.

    Google keeps a deleted role for seven days, and its id longer, so one that was deleted is restored.
    https://cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role
    """

    kind: ClassVar[str] = "role"

    cloud: GoogleCloud
    stage: str
    name: str
    title: str = ""
    permissions: Sequence[str] = ()

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the roles that were made for a stage."""
        request = iam_admin_v1.ListRolesRequest(parent=f"projects/{cloud.project}")
        for found in cloud.accounts.list_roles(request=request).roles:
            if found.description == made_for(stage):
                yield cls(cloud=cloud, stage=stage, name=found.name.rpartition("/")[2])

    @property
    def full(self) -> str:
        """The name of the role in policies."""
        return f"projects/{self.cloud.project}/roles/{self.name}"

    def desired(self) -> Settings:
        return {
            "title": self.title,
            "permissions": sorted(self.permissions),
            "description": made_for(self.stage),
            "launch stage": "GA",
        }

    def read(self) -> Settings | None:
        found = self._find()
        if found is None or found.deleted:
            return None
        return {
            "title": found.title,
            "permissions": sorted(found.included_permissions),
            "description": found.description,
            "launch stage": found.stage.name,
        }

    def create(self) -> None:
        if self._find() is None:
            self.cloud.accounts.create_role(
                request=iam_admin_v1.CreateRoleRequest(
                    parent=f"projects/{self.cloud.project}", role_id=self.name, role=self._wanted()
                )
            )
            return
        self.cloud.accounts.undelete_role(request=iam_admin_v1.UndeleteRoleRequest(name=self.full))
        self.update({})

    def update(self, current: Settings) -> None:
        self.cloud.accounts.update_role(
            request=iam_admin_v1.UpdateRoleRequest(name=self.full, role=self._wanted())
        )

    def delete(self) -> None:
        self.cloud.accounts.delete_role(request=iam_admin_v1.DeleteRoleRequest(name=self.full))

    def gcloud(self, action: str, current: Settings) -> list[str]:
        flags = {
            "title": self.title,
            "description": made_for(self.stage),
            "permissions": ",".join(sorted(self.permissions)),
            "stage": "GA",
        }
        shown = {} if action == "delete" else flags
        return [
            command("iam", "roles", action, self.name, project=self.cloud.project, **shown),
        ]

    def _find(self) -> iam_admin_v1.Role | None:
        try:
            return self.cloud.accounts.get_role(request=iam_admin_v1.GetRoleRequest(name=self.full))
        except NotFound:
            return None

    def _wanted(self) -> iam_admin_v1.Role:
        return iam_admin_v1.Role(
            title=self.title,
            description=made_for(self.stage),
            included_permissions=sorted(self.permissions),
            stage=iam_admin_v1.Role.RoleLaunchStage.GA,
        )
