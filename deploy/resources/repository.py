"""Repositories of Artifact Registry, which hold the images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from google.api_core.exceptions import NotFound
from google.cloud import artifactregistry_v1

from deploy.errors import DeployError
from deploy.google import GoogleCloud, finish
from deploy.resource import Resource, Settings, command, pairs


@dataclass(frozen=True, kw_only=True)
class Repository(Resource):
    """A Docker repository."""

    kind: ClassVar[str] = "repository"
    # Images can be built and pushed again, but not those that an older revision runs.
    holds_data: ClassVar[bool] = True

    cloud: GoogleCloud
    name: str
    labels: Mapping[str, str]
    description: str = "Images of Validibot and its validators"

    def desired(self) -> Settings:
        return {
            "format": "DOCKER",
            "description": self.description,
            "labels": dict(self.labels),
        }

    def read(self) -> Settings | None:
        try:
            found = self.cloud.repositories.get_repository(name=self._full)
        except NotFound:
            return None
        return {
            "format": found.format_.name,
            "description": found.description,
            "labels": dict(found.labels),
        }

    def create(self) -> None:
        request = {
            "parent": self.cloud.location,
            "repository_id": self.name,
            "repository": self._wanted(),
        }
        finish(self.cloud.repositories.create_repository(request=request))

    def update(self, current: Settings) -> None:
        if current["format"] != "DOCKER":
            raise DeployError(
                f"{self.address} has the format {current['format']}, which cannot be changed to DOCKER. "
                "Rename the stage file, or delete the repository; then run `plan`."
            )
        mask = {"paths": ["description", "labels"]}
        request = {"repository": self._wanted(), "update_mask": mask}
        self.cloud.repositories.update_repository(request=request)

    def delete(self) -> None:
        operation = self.cloud.repositories.delete_repository(name=self._full)
        finish(operation)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("artifacts", "repositories", action, self.name)
        if action == "delete":
            return [command(*words, location=self.cloud.region)]
        labels = "labels" if action == "create" else "update_labels"
        return [
            command(
                *words,
                location=self.cloud.region,
                repository_format="docker" if action == "create" else "",
                description=self.description,
                **{labels: pairs(self.labels)},
            )
        ]

    def _wanted(self) -> artifactregistry_v1.Repository:
        return artifactregistry_v1.Repository(
            name=self._full,
            format_=artifactregistry_v1.Repository.Format.DOCKER,
            description=self.description,
            labels=dict(self.labels),
        )

    @property
    def _full(self) -> str:
        return f"{self.cloud.location}/repositories/{self.name}"
